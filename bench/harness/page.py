"""The page bench/results/latest.md."""

from .report import FOREIGN_SHARE_DOUBTFUL

# Added latency at half of saturation, durable audit: p50 and p99 in microseconds.
LATENCY_P50_US, LATENCY_P99_US = 100, 5_000


def markdown(report, loads):
    """The whole page, from the report's plain data."""
    names = report["targets"]
    text = heading(report, names) + ratios(report["ratios"], names, report["left_out"])
    text += growth(report["growth"]) + reloads(report["reloads"], names)
    for load in loads:
        rows = [row for row in report["summary"] if row["workload"] == load.name]
        absent = [item for item in report["left_out"] if item["workload"] in (None, load.name)]
        if rows:
            text += [f"## {load.name}: {load.title}", ""] + table(rows, names, absent) + remarks(rows, load)
        idle = [row for row in report["idle"] if row["workload"] == load.name]
        if idle:
            text += [f"## {load.name}: {load.title}", ""] + memory(idle, names, absent)
    return "\n".join(text).rstrip() + "\n"


def number(value, digits=0):
    return "" if value is None else f"{value:,.{digits}f}"


def heading(report, names):
    about, settings = report["machine"], report["settings"]
    text = [
        "# Comparison with other gateways", "",
        f"{report['date']}. {about['cores']} cores of {about['cpu']}, {about['memory_gib']} GiB, {about['kernel']}. "
        f"Median of {settings['runs']} interleaved runs of {settings['dur']} s; proxy on core 0, generator and upstream "
        "on core 1; TLS 1.3, TLS_AES_128_GCM_SHA256, X25519, ECDSA P-256. Method: [bench/README.md](../README.md).", "",
        "Targets: " + ", ".join(f"{item['title']} {item['version']}".strip() for item in names.values()) + ".", ""]
    lacking = [f"- {item['title']}: {item['lacks']}." for item in names.values() if item["lacks"]]
    if lacking:
        text += ["What these have not of the features that the others have (each is spared that work):", "", *lacking, ""]
    if report["left_out"]:
        text += ["Not measured:", ""]
        text += [f"- {item['title']}{' in ' + item['workload'] if item['workload'] else ''}: {item['reason']}."
                 for item in report["left_out"]] + [""]
    if report["foreign_share"] > FOREIGN_SHARE_DOUBTFUL:
        text += [f"**Doubtful**: other work used {report['foreign_share']:.0%} of the machine (median over the runs).", ""]
    return text


def ratios(found, names, left_out):
    if not found:
        return []
    text = ["## Ratios, peer / Causeway (CPU time per request; higher is better for Causeway)", "",
            "| workload | peer | ratio | must | goal | reached | memory ratio |", "|---|---|---|---|---|---|---|"]
    titles = {name: item["title"] for name, item in names.items()} | {item["target"]: item["title"] for item in left_out}
    for item in found:
        absent = "not measured" if item["verdict"].endswith("not measured") else "none"
        ratio = absent if item["ratio"] is None else f"**{item['ratio']:.2f}**"
        text.append(f"| {item['workload']} | {titles[item['peer']]} | {ratio} | {number(item['must'], 2)} | "
                    f"{number(item['goal'], 2)} | {item['verdict'] or 'nothing set'} | {number(item['memory_ratio'], 2)} |")
    return text + [""]


def growth(found):
    if not found:
        return []
    return ["## What more keys and routes cost (the large Causeway against the usual one)", "",
            "| workload | CPU time per request | must stay under | reached | more resident MiB |", "|---|---|---|---|---|",
            *(f"| {item['workload']} | **{item['share']:+.0%}** | +{item['must']:.0%} | {item['verdict']} | "
              f"{number(item['more_mib'])} |" for item in found), ""]


def reloads(found, names):
    if not found:
        return []
    text = ["## Hot reload: a changed document each second, beside the same load without", "",
            "| target | p50 us without | p50 us with | p99 us without | p99 us with | documents | slowest to apply, s | errors |",
            "|---|---|---|---|---|---|---|---|"]
    for item in found:
        calm, busy = item["without"] or {}, item["with"]
        text.append(f"| {names[item['target']]['title']} | {number(calm.get('p50_us'))} | {number(busy['p50_us'])} | "
                    f"{number(calm.get('p99_us'))} | **{number(busy['p99_us'])}** | {item['n_reloads']} | "
                    f"{number(item['slowest_seconds'], 2)} | {busy['errors']} |")
    return text + [""]


def table(rows, names, absent):
    lines = ["| target | CPU us/request (min to max) | requests/s | p50 us | p99 us | resident MiB | system share | errors |",
             "|---|---|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: row["us_per_request"] or 0):
        cost = f"**{number(row['us_per_request'], 1)}** ({number(row['us_min'], 1)} to {number(row['us_max'], 1)})"
        if row["target"] == "direct":
            cost = ""
        lines.append(f"| {names[row['target']]['title']} | {cost} | {number(row['rps'])} | {number(row['p50_us'])} | "
                     f"{number(row['p99_us'])} | {number(row['resident_mib'])} | {number(row['system_share'], 2)} | "
                     f"{row['errors']} |")
    lines += [f"| {item['title']} | not measured | | | | | | |" for item in absent]
    return lines + [""]


def remarks(rows, load):
    """What the database spent, and what the gateway adds to the upstream's own latency."""
    by_target = {row["target"]: row for row in rows}
    own, base = by_target.get("causeway"), by_target.get("direct")
    lines = []
    if own and own["side_us_per_request"] is not None:
        lines += [f"Causeway's database spent {own['side_us_per_request']:.1f} us per request besides (audit loading, on "
                  "the generator's core; not in the figure above).", ""]
    if own and base and load.is_paced and None not in (own["p50_us"], base["p50_us"], own["p99_us"], base["p99_us"]):
        p50, p99 = own["p50_us"] - base["p50_us"], own["p99_us"] - base["p99_us"]
        lines += [f"Added by Causeway: p50 {p50:.0f} us (to reach: under {LATENCY_P50_US}), p99 {p99:.0f} us (to reach with "
                  f"durable audit: under {LATENCY_P99_US:,}).", ""]
    return lines


def memory(rows, names, absent):
    lines = [f"{rows[0]['connections']:,} connections to a freshly started process, once for each target. Memory that the "
             "kernel holds for sockets is not in it. To reach: below every peer.", "",
             "| target | resident bytes per connection | MiB before | MiB with the connections | lost connections |",
             "|---|---|---|---|---|"]
    lines += [f"| {names[row['target']]['title']} | **{number(row['bytes_per_connection'])}** | "
              f"{number(row['resident_before_mib'])} | {number(row['resident_mib'])} | {row['errors']} |"
              for row in sorted(rows, key=lambda row: row["bytes_per_connection"])]
    lines += [f"| {item['title']} | not measured | | | |" for item in absent]
    return lines + [""]
