"""The measurement itself: one run, and the interleaved rounds."""

import contextlib
import os
import subprocess
import time

from . import place, process, workloads
from .place import Trouble, cut_logs
from .targets import LOAD_CORE
from .workloads import REQUEST_LOG, WARMUP_SECONDS

# The window of the CPU measurement starts this long after the generator (its connections are made, its warm-up is over)
# and ends well before it: on a busy machine, reading the counters can take a tenth of a second.
WINDOW_AFTER_SECONDS = WARMUP_SECONDS + 0.2
WINDOW_SHORTER_SECONDS = 0.6
N_ATTEMPTS = 3
# Memory is settled when it changes less than this share in a second; after so many seconds it is taken as it is.
SETTLED_SHARE, SETTLE_SECONDS_MAX = 0.005, 15
# Files that a target may have open beside two for each idle connection, and that the generator may have.
DESCRIPTORS_BESIDE = 1_000


class Overrun(Trouble):
    """The generator ended before the window did: the machine stood still for a while."""


def patiently(processes, target, load, seconds, upstream_sid, log=None, rate=None):
    """`once`, again when the machine stood still, each time longer and with more room behind the window."""
    for attempt in range(1, N_ATTEMPTS):
        with contextlib.suppress(Overrun):
            return once(processes, target, load, seconds + attempt - 1, upstream_sid, log, rate, attempt)
    return once(processes, target, load, seconds + N_ATTEMPTS - 1, upstream_sid, log, rate, N_ATTEMPTS)


def once(processes, target, load, seconds, upstream_sid, log=None, rate=None, attempt=1):
    """Runs one workload against one target and returns its figures."""
    seconds = max(seconds, load.seconds_min)
    generator = processes.start(load.argv(target, seconds, log, rate), LOAD_CORE,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    load_sids = [generator.pid, upstream_sid]
    time.sleep(WINDOW_AFTER_SECONDS)
    with target.reloading() if load.needs == "reload" else contextlib.nullcontext() as reloads:
        before = reading(target, load_sids)
        time.sleep(max(0.3, seconds - attempt * WINDOW_SHORTER_SECONDS))
        after = reading(target, load_sids)
        has_ended = generator.poll() is not None
    if has_ended:
        output = processes.finish(generator, 1).strip()
        raise Overrun(f"{target.title}, {load.name}: the generator ended inside the window: {output[-300:]}")
    memory = process.resident_mib(target.sids())
    result = load.read(processes.finish(generator, seconds + 20), target, seconds, log)

    result.update(figures(before, after, result["rps"]))
    result.update({"target": target.name, "workload": load.name, "is_latency_round": log is not None,
                   "resident_mib": round(memory, 1)})
    if target.side_sids() and result["rps"]:
        result["side_us_per_request"] = round((after["side"] - before["side"]) / (after["at"] - before["at"]) * 1e6
                                              / result["rps"], 3)
    if rate:
        result["rate"] = round(rate)
    if reloads is not None:
        result["reload_seconds"] = [round(took, 3) for took in reloads]
    return result


def figures(before, after, rps):
    """CPU time and shares of the window between two readings."""
    elapsed = after["at"] - before["at"]
    spent = {name: after[name] - before[name] for name in before}
    cpu = spent["cpu"] / elapsed
    foreign = max(0, spent["busy"] - spent["cpu"] - spent["side"] - spent["load"])
    return {
        "cpu_share": round(cpu, 4),
        "us_per_request": round(cpu * 1e6 / rps, 3) if rps else None,
        "system_share": round(spent["system"] / max(spent["user"] + spent["system"], 0.01), 3),
        "load_share": round(spent["load"] / elapsed, 3),
        "foreign_share": round(foreign / elapsed / os.cpu_count(), 3),
        "stolen_share": round(spent["stolen"] / elapsed / os.cpu_count(), 3),
    }


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


def idle(processes, target, load, connections):
    """Resident bytes for each idle connection of a freshly started target: what it keeps of earlier loads would hide them."""
    target.restart(processes)
    before = settled(target)
    generator = processes.start(load.argv(target, load.seconds_min, connections=connections), LOAD_CORE,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    line = generator.stdout.readline().strip()
    if line != "ready":
        raise Trouble(f"{target.title}, {load.name}: the generator said: {line}")
    time.sleep(load.seconds_min)
    after = process.resident_mib(target.sids())
    found = load.read(processes.finish(generator, 30), target, load.seconds_min)
    lost = connections - found["open"]
    return {
        "target": target.name, "workload": load.name, "connections": connections, "errors": lost,
        "first_error": found["first_error"] or (f"{lost} connections were closed" if lost else ""),
        "resident_before_mib": round(before, 1), "resident_mib": round(after, 1),
        "bytes_per_connection": round((after - before) * 2**20 / connections),
    }


def settled(target):
    """Resident MiB once it stays the same: what starting needed is given back within seconds, or never."""
    last = process.resident_mib(target.sids())
    for _ in range(SETTLE_SECONDS_MAX):
        time.sleep(1)
        now = process.resident_mib(target.sids())
        if abs(now - last) < SETTLED_SHARE * last:
            return now
        last = now
    return last


def rounds(processes, targets, direct, loads, settings, say):
    """All workloads, each in interleaved rounds: every target once a round, the order reversed each time.

    Workloads that are paced by the same saturation follow each other in every round, so that they can be compared.
    Latency is taken in rounds of its own, because h2load's log of every request costs the generator time."""
    results = []
    for batch in batches([load for load in loads if not isinstance(load, workloads.Idle)]):
        for number, log in enumerate(logs_of(batch, settings)):
            for load in batch:
                line_up = able(load, [*targets, direct] if load.name == "h1-paced" else targets)
                for target in line_up if number % 2 == 0 else line_up[::-1]:
                    rate = rate_of(load, target, targets, results, settings) if load.is_paced else None
                    result = patiently(processes, target, load, settings.dur, direct.child.pid, log, rate)
                    result["round"] = number
                    results.append(result)
                    complain(result, target, say)
                    cut_logs()
        for load in batch:
            done = [f"{target.name} {min(costs):.1f}" for target in targets if (costs := [
                run["us_per_request"] for run in results
                if run["target"] == target.name and run["workload"] == load.name and run["us_per_request"]])]
            say(f"{load.name}: " + ", ".join(done) + " us per request at best")
    return results


def idle_all(processes, targets, loads, settings, say):
    """The memory of idle connections, once for each target."""
    results = []
    for load in (load for load in loads if isinstance(load, workloads.Idle)):
        # Every connection may need one descriptor on each side of the proxy.
        place.raise_descriptors(settings.idle + DESCRIPTORS_BESIDE)
        for target in able(load, targets):
            results.append(idle(processes, target, load, settings.idle))
            complain(results[-1], target, say)
        say(f"{load.name}: " + ", ".join(f"{row['target']} {row['bytes_per_connection']:,}" for row in results)
            + " bytes per connection")
    return results


def complain(result, target, say):
    if result["errors"]:
        say(f"  {target.title}, {result['workload']}: {result['errors']} failed requests ({result['first_error']})")


def able(load, targets):
    return [target for target in targets if not load.reason_against(target)]


def batches(loads):
    """Neighbors that one of our generators paces by the same saturation; every other workload alone."""
    found = []
    for load in loads:
        is_own = isinstance(load, workloads.Own) and load.is_paced
        if is_own and found and isinstance(found[-1][0], workloads.Own) and found[-1][0].saturated_by == load.saturated_by:
            found[-1].append(load)
        else:
            found.append([load])
    return found


def logs_of(batch, settings):
    """For each round, h2load's log of requests or None; a quick run takes latency and cost in one round."""
    if not isinstance(batch[0], workloads.H2load):
        return [None] * settings.runs
    if batch[0].is_paced:
        return [REQUEST_LOG] * settings.runs
    latency_rounds = 0 if settings.smoke else max(1, settings.runs // 2)
    return [None] * settings.runs + [REQUEST_LOG] * latency_rounds


def rate_of(load, target, targets, results, settings):
    """The rate of a paced run: as given, or half of the target's own saturation. The upstream alone runs at the rate of
    the first target (Causeway when it is there), so that its latency can be taken off."""
    name = targets[0].name if target.name == "direct" else target.name
    rate = settings.rate or workloads.half_of_saturation(results, name, load)
    if not rate:
        raise Trouble(f"{load.name} needs {load.saturated_by} before it in --workloads, or --rate")
    return rate
