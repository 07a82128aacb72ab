"""The measurement itself: one run, and the interleaved rounds."""

import os
import subprocess
import time

from . import process, workloads
from .place import Trouble, cut_logs
from .targets import LOAD_CORE
from .workloads import REQUEST_LOG, WARMUP_SECONDS

# The window of the CPU measurement starts this long after the generator (its connections are made, its warm-up is over)
# and ends well before it: on a busy machine, reading the counters can take a tenth of a second.
WINDOW_AFTER_SECONDS = WARMUP_SECONDS + 0.2
WINDOW_SHORTER_SECONDS = 0.6


def once(processes, target, load, seconds, upstream_sid, log=None, rate=None):
    """Runs one workload against one target and returns its figures."""
    generator = processes.start(load.argv(target, seconds, log, rate), LOAD_CORE,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    load_sids = [generator.pid, upstream_sid]
    time.sleep(WINDOW_AFTER_SECONDS)
    before = reading(target, load_sids)
    time.sleep(max(0.3, seconds - WINDOW_SHORTER_SECONDS))
    after = reading(target, load_sids)
    if generator.poll() is not None:
        output = processes.finish(generator, 1).strip()
        raise Trouble(f"{target.title}, {load.name}: the generator ended inside the window: {output[-300:]}")
    memory = process.resident_mib(target.sids())
    result = load.read(processes.finish(generator, seconds + 20), target, seconds, log)

    elapsed = after["at"] - before["at"]
    spent = {name: after[name] - before[name] for name in before}
    cpu = spent["cpu"] / elapsed
    foreign = max(0, spent["busy"] - spent["cpu"] - spent["side"] - spent["load"])
    result.update({
        "target": target.name, "workload": load.name, "is_latency_round": log is not None,
        "cpu_share": round(cpu, 4), "resident_mib": round(memory, 1),
        "us_per_request": round(cpu * 1e6 / result["rps"], 3) if result["rps"] else None,
        "system_share": round(spent["system"] / max(spent["user"] + spent["system"], 0.01), 3),
        "load_share": round(spent["load"] / elapsed, 3),
        "foreign_share": round(foreign / elapsed / os.cpu_count(), 3),
        "stolen_share": round(spent["stolen"] / elapsed / os.cpu_count(), 3),
    })
    if target.side_sids() and result["rps"]:
        result["side_us_per_request"] = round(spent["side"] / elapsed * 1e6 / result["rps"], 3)
    if rate:
        result["rate"] = round(rate)
    return result


def reading(target, load_sids):
    """All counters at one moment: one walk over /proc, then the target's threads first."""
    everything = process.sessions()
    own, side, load = ([entry for sid in sids for entry in everything.get(sid, [])]
                       for sids in (target.sids(), target.side_sids(), load_sids))
    at, cpu = time.perf_counter(), process.cpu_seconds(own)
    busy, stolen = process.machine_seconds()
    return {"at": at, "cpu": cpu, "side": process.cpu_seconds(side), "load": process.cpu_seconds(load),
            "user": sum(entry[1] for entry in own), "system": sum(entry[2] for entry in own),
            "busy": busy, "stolen": stolen}


def rounds(processes, targets, direct, loads, settings, say):
    """All workloads, each in interleaved rounds: every target once a round, the order reversed each time.

    Latency is taken in rounds of its own, because h2load's log of every request costs the generator time."""
    results = []
    for load in loads:
        logs = [None] * settings.runs
        if isinstance(load, workloads.H2load):
            logs = [REQUEST_LOG] * settings.runs if load.is_paced else logs + [REQUEST_LOG] * max(1, settings.runs // 2)
        line_up = [*targets, direct] if load.name == "h1-paced" else targets
        for number, log in enumerate(logs):
            for target in line_up if number % 2 == 0 else line_up[::-1]:
                rate = rate_of(load, target, targets, results, settings) if load.is_paced else None
                result = once(processes, target, load, settings.dur, direct.child.pid, log, rate)
                result["round"] = number
                results.append(result)
                if result["errors"]:
                    say(f"  {target.title}, {load.name}: {result['errors']} failed requests ({result['first_error']})")
                cut_logs()
        done = [f"{target.name} {min(costs):.1f}" for target in targets if (costs := [
            run["us_per_request"] for run in results
            if run["target"] == target.name and run["workload"] == load.name and run["us_per_request"]])]
        say(f"{load.name}: " + ", ".join(done) + " us per request at best")
    return results


def rate_of(load, target, targets, results, settings):
    """The rate of a paced run: as given, or half of the target's own saturation. The upstream alone runs at the rate of
    the first target (Causeway when it is there), so that its latency can be taken off."""
    name = targets[0].name if target.name == "direct" else target.name
    rate = settings.rate or workloads.half_of_saturation(results, name, load.name)
    if not rate:
        raise Trouble(f"{load.name} needs {workloads.SATURATED_BY[load.name]} before it in --workloads, or --rate")
    return rate
