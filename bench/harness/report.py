"""Turns runs into medians, ratios and a markdown page."""

import json
import os
import platform
import re
import statistics
import time

from . import place

# Ratios peer / Causeway to reach: row -> peer -> (must, goal). HAProxy's were set against 2.8.
TO_REACH = {
    "h1 GET": {"nginx": (1.1, 1.35), "haproxy": (1.25, 1.5), "envoy": (2.5, 3.2)},
    "h2 GET": {"nginx": (1.6, 2.0), "haproxy": (1.15, 1.5), "envoy": (3.5, 4.5)},
    "full handshake": {"nginx": (2.2, 3.0), "haproxy": (2.5, 3.3), "envoy": (1.5, 2.1)},
    "POST 16 KiB": {"nginx": (1.0, 1.2), "haproxy": (1.4, 1.6), "envoy": (2.0, 2.3)},
    "1 MiB": {"nginx": (1.1, 1.5), "haproxy": (1.2, 1.5), "envoy": (1.1, 1.4)},
}
# Added latency at half of saturation, durable audit: p50 and p99 in microseconds.
LATENCY_P50_US, LATENCY_P99_US = 100, 5_000
# From this share of the machine on, other work makes the figures doubtful.
FOREIGN_SHARE_DOUBTFUL = 0.05


def machine():
    """The machine in words that name neither it nor any path."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.M)
    with open("/proc/meminfo", encoding="utf-8") as file:
        memory = int(re.search(r"^MemTotal:\s+(\d+)", file.read(), re.M).group(1))
    kernel = re.match(r"\d+(\.\d+)*", platform.release())
    return {"cpu": model.group(1).strip() if model else platform.machine(), "cores": os.cpu_count(),
            "memory_gib": round(memory / 2**20, 1), "kernel": f"Linux {kernel.group(0) if kernel else '?'}"}


def summary(runs, targets, loads):
    """Medians per workload and target, in the order of measurement."""
    rows = []
    for load in loads:
        for target in targets:
            own = [run for run in runs if run["workload"] == load.name and run["target"] == target.name]
            if not own:
                continue
            quiet = [run for run in own if not run["is_latency_round"]] or own
            row = {"workload": load.name, "target": target.name, "runs": len(quiet),
                   "errors": sum(run["errors"] for run in own)}
            for name in ("us_per_request", "rps", "resident_mib", "side_us_per_request", "system_share", "rate"):
                row[name] = median(quiet, name)
            for name in ("p50_us", "p99_us"):
                row[name] = median(own, name)
            row["us_min"], row["us_max"] = extremes(quiet)
            rows.append(row)
    return rows


def median(runs, name):
    values = [run[name] for run in runs if run.get(name) is not None]
    return round(statistics.median(values), 3) if values else None


def extremes(runs):
    values = [run["us_per_request"] for run in runs if run["us_per_request"] is not None]
    return (min(values), max(values)) if values else (None, None)


def ratios(rows, loads):
    """Peer / Causeway for CPU time and for memory, beside what is to be reached. A target with errors has no ratio."""
    found = []
    by_place = {(row["workload"], row["target"]): row for row in rows}
    for load in loads:
        base = by_place.get((load.name, "causeway"))
        if base is None or load.row is None or base["errors"] or not base["us_per_request"]:
            continue
        for (name, target), row in by_place.items():
            if name != load.name or target in ("causeway", "direct") or row["errors"] or not row["us_per_request"]:
                continue
            must, goal = TO_REACH[load.row].get(target, (None, None))
            ratio = row["us_per_request"] / base["us_per_request"]
            found.append({"workload": load.name, "peer": target, "ratio": round(ratio, 3), "must": must, "goal": goal,
                          "memory_ratio": round(row["resident_mib"] / base["resident_mib"], 3),
                          "verdict": verdict(ratio, must, goal)})
    return found


def verdict(ratio, must, goal):
    if must is None:
        return ""
    return "goal" if ratio >= goal else "must" if ratio >= must else "missed"


def number(value, digits=0):
    return "" if value is None else f"{value:,.{digits}f}"


def markdown(report, loads):
    """The page bench/results/latest.md."""
    about, settings = report["machine"], report["settings"]
    names = report["targets"]
    text = [
        "# Comparison with other gateways", "",
        f"{report['date']}. {about['cores']} cores of {about['cpu']}, {about['memory_gib']} GiB, {about['kernel']}. "
        f"Median of {settings['runs']} interleaved runs of {settings['dur']} s; proxy on core 0, generator and upstream "
        "on core 1; TLS 1.3, TLS_AES_128_GCM_SHA256, X25519, ECDSA P-256. Method: [bench/README.md](../README.md).", "",
        "Targets: " + ", ".join(f"{item['title']} {item['version']}".strip() for item in names.values()) + ".", ""]
    if report["foreign_share"] > FOREIGN_SHARE_DOUBTFUL:
        text += [f"**Doubtful**: other work used {report['foreign_share']:.0%} of the machine (median over the runs).", ""]
    if report["ratios"]:
        text += ["## Ratios, peer / Causeway (CPU time per request; higher is better for Causeway)", "",
                 "| workload | peer | ratio | must | goal | reached | memory ratio |", "|---|---|---|---|---|---|---|"]
        text += [f"| {item['workload']} | {names[item['peer']]['title']} | **{item['ratio']:.2f}** | "
                 f"{number(item['must'], 2)} | {number(item['goal'], 2)} | {item['verdict']} | "
                 f"{item['memory_ratio']:.2f} |" for item in report["ratios"]]
        text.append("")
    for load in loads:
        rows = [row for row in report["summary"] if row["workload"] == load.name]
        if rows:
            text += [f"## {load.name}: {load.title}", ""] + table(rows, names, load)
    return "\n".join(text).rstrip() + "\n"


def table(rows, names, load):
    lines = ["| target | CPU us/request (min to max) | requests/s | p50 us | p99 us | resident MiB | system share | errors |",
             "|---|---|---|---|---|---|---|---|"]
    base = next((row for row in rows if row["target"] == "direct"), None)
    for row in sorted(rows, key=lambda row: row["us_per_request"] or 0):
        cost = f"**{number(row['us_per_request'], 1)}** ({number(row['us_min'], 1)} to {number(row['us_max'], 1)})"
        if row["target"] == "direct":
            cost = ""
        lines.append(f"| {names[row['target']]['title']} | {cost} | {number(row['rps'])} | {number(row['p50_us'])} | "
                     f"{number(row['p99_us'])} | {number(row['resident_mib'])} | {number(row['system_share'], 2)} | "
                     f"{row['errors']} |")
    lines.append("")
    own = next((row for row in rows if row["target"] == "causeway"), None)
    if own and own["side_us_per_request"] is not None:
        lines += [f"Causeway's database spent {own['side_us_per_request']:.1f} us per request besides (audit loading, on "
                  "the generator's core; not in the figure above).", ""]
    if own and base and load.is_paced and None not in (own["p50_us"], base["p50_us"], own["p99_us"], base["p99_us"]):
        p50, p99 = own["p50_us"] - base["p50_us"], own["p99_us"] - base["p99_us"]
        lines += [f"Added by Causeway: p50 {p50:.0f} us (to reach: under {LATENCY_P50_US}), p99 {p99:.0f} us (to reach with "
                  f"durable audit: under {LATENCY_P99_US:,}).", ""]
    return lines


def make(runs, targets, loads, settings):
    """The whole report as plain data."""
    rows = summary(runs, targets, loads)
    foreign = [run["foreign_share"] for run in runs]
    targets = [target for target in targets if any(row["target"] == target.name for row in rows)]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "machine": machine(), "settings": settings,
        "targets": {target.name: {"title": target.title, "version": target.version()} for target in targets},
        "foreign_share": round(statistics.median(foreign), 3) if foreign else 0,
        "ratios": ratios(rows, loads), "summary": rows, "runs": runs,
    }


def save(report, page):
    """Writes <date>.json and latest.md; returns the JSON's name."""
    os.makedirs(place.RESULTS, exist_ok=True)
    name = report["date"].replace(" UTC", "").replace(" ", "-").replace(":", "") + ".json"
    place.write(os.path.join(place.RESULTS, name), json.dumps(report, indent=1) + "\n")
    place.write(os.path.join(place.RESULTS, "latest.md"), page)
    return name
