"""Turns runs into medians and ratios."""

import json
import os
import platform
import re
import statistics
import time

from . import place

# Ratios peer / Causeway to reach: row -> peer -> (must, goal). HAProxy's were set against 2.8, Caddy's without any feature,
# and those of Envoy with JWT are against Causeway with API keys.
TO_REACH = {
    "h1 GET": {"nginx": (1.1, 1.35), "haproxy": (1.25, 1.5), "pingora": (1.5, 1.8), "envoy": (2.5, 3.2),
               "envoy-jwt": (6.0, 8.0), "caddy": (5.0, 6.0), "traefik": (6.0, 8.0)},
    "h2 GET": {"nginx": (1.6, 2.0), "haproxy": (1.15, 1.5), "pingora": (2.2, 3.0), "envoy": (3.5, 4.5),
               "envoy-jwt": (6.0, 9.0), "caddy": (8.0, 12.0), "traefik": (8.0, 12.0)},
    "full handshake": {"nginx": (2.2, 3.0), "haproxy": (2.5, 3.3), "pingora": (1.25, 1.6), "envoy": (1.5, 2.1),
                       "caddy": (2.0, 3.0), "traefik": (2.2, 3.0)},
    "POST 16 KiB": {"nginx": (1.0, 1.2), "haproxy": (1.4, 1.6), "pingora": (1.7, 2.0), "envoy": (2.0, 2.3),
                    "caddy": (3.5, 4.5), "traefik": (4.0, 5.0)},
    "1 MiB": {"nginx": (1.1, 1.5), "haproxy": (1.2, 1.5), "pingora": (0.9, 1.2), "envoy": (1.1, 1.4),
              "caddy": (1.2, 1.5), "traefik": (1.3, 1.5)},
    "gRPC small": {"nginx": (2.0, 2.4), "haproxy": (0.9, 1.2), "envoy": (2.0, 2.5)},
}
# From this share of the machine on, other work makes the figures doubtful.
FOREIGN_SHARE_DOUBTFUL = 0.05
# A million keys and ten thousand routes may change a request's cost by this share.
GROWTH_SHARE_MAX = 0.1


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


def ratios(rows, loads, missing=()):
    """Peer / Causeway for CPU time and for memory, beside what is to be reached; without a ratio where one of the two has
    errors or was not measured, and the verdict says so. `missing` are names of peers that are not there."""
    found = []
    by_place = {(row["workload"], row["target"]): row for row in rows}
    if not any(target == "causeway" for _, target in by_place):
        return []
    for load in (load for load in loads if load.row is not None):
        base = by_place.get((load.name, "causeway"))
        peers = {target: row for (name, target), row in by_place.items()
                 if name == load.name and target not in ("causeway", "causeway-large", "direct")}
        if base is None and not peers:
            continue
        for peer, row in [*peers.items(), *((name, None) for name in missing)]:
            must, goal = TO_REACH[load.row].get(peer, (None, None))
            found.append({"workload": load.name, "peer": peer, "must": must, "goal": goal, **compared(row, base, must, goal)})
    return found


def compared(row, base, must, goal):
    """Ratio, memory ratio and verdict of a peer's row against Causeway's."""
    for what, which in (("it", row), ("Causeway", base)):
        if which is None:
            return {"ratio": None, "memory_ratio": None, "verdict": f"{what} was not measured"}
        if which["errors"] or not which["us_per_request"]:
            return {"ratio": None, "memory_ratio": None, "verdict": f"{what} had errors"}
    ratio = row["us_per_request"] / base["us_per_request"]
    return {"ratio": round(ratio, 3), "memory_ratio": round(row["resident_mib"] / base["resident_mib"], 3),
            "verdict": verdict(ratio, must, goal)}


def verdict(ratio, must, goal):
    if must is None:
        return ""
    return "goal" if ratio >= goal else "must" if ratio >= must else "missed"


def growth(rows, loads):
    """What more keys and routes cost: the large node's CPU time over the usual one's, beside what it must stay under."""
    found = []
    by_place = {(row["workload"], row["target"]): row for row in rows}
    for load in (load for load in loads if load.row is not None):
        pair = [by_place.get((load.name, name)) for name in ("causeway", "causeway-large")]
        if all(row and row["us_per_request"] and not row["errors"] for row in pair):
            share = round(pair[1]["us_per_request"] / pair[0]["us_per_request"] - 1, 3)
            found.append({"workload": load.name, "share": share, "must": GROWTH_SHARE_MAX,
                          "verdict": "must" if share <= GROWTH_SHARE_MAX else "missed",
                          "more_mib": round(pair[1]["resident_mib"] - pair[0]["resident_mib"], 1)})
    return found


def reloads(runs, rows):
    """Latency with a changed document each second beside latency without, for each target that was reloaded."""
    found = []
    for row in (row for row in rows if row["workload"] == "h1-reload"):
        calm = next((other for other in rows if (other["workload"], other["target"]) == ("h1-paced", row["target"])), None)
        took = [seconds for run in runs if (run["workload"], run["target"]) == ("h1-reload", row["target"])
                for seconds in run["reload_seconds"]]
        found.append({"target": row["target"], "without": calm, "with": row, "n_reloads": len(took),
                      "slowest_seconds": max(took, default=None)})
    return found


def left_out(loads, targets, missing):
    """What was asked for and cannot be measured, with the reason; a peer that is not there has no workload."""
    found = [{"workload": None, "target": name, "title": title, "reason": reason} for name, title, reason in missing]
    found += [{"workload": load.name, "target": target.name, "title": target.title, "reason": reason}
              for load in loads if load.is_for_all for target in targets
              if target.name != "direct" and (reason := load.reason_against(target))]
    return found


def make(runs, idle, targets, loads, settings, missing=()):
    """The whole report as plain data. `missing` has name, title and reason of each peer that is not there."""
    rows = summary(runs, targets, loads)
    foreign = [run["foreign_share"] for run in runs]
    measured = {row["target"] for row in [*rows, *idle]}
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "machine": machine(), "settings": settings,
        "targets": {target.name: {"title": target.title, "version": target.version(), "lacks": target.lacks}
                    for target in targets if target.name in measured},
        "left_out": left_out(loads, targets, missing),
        "foreign_share": round(statistics.median(foreign), 3) if foreign else 0,
        "ratios": ratios(rows, loads, [name for name, _, _ in missing]),
        "growth": growth(rows, loads), "reloads": reloads(runs, rows),
        "summary": rows, "idle": idle, "runs": runs,
    }


def save(report, page):
    """Writes <date>.json and latest.md; returns the JSON's name."""
    os.makedirs(place.RESULTS, exist_ok=True)
    name = report["date"].replace(" UTC", "").replace(" ", "-").replace(":", "") + ".json"
    place.write(os.path.join(place.RESULTS, name), json.dumps(report, indent=1) + "\n")
    place.write(os.path.join(place.RESULTS, "latest.md"), page)
    return name
