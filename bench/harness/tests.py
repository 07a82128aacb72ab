"""Tests of the arithmetic, the parsing and the page: python3 -m unittest harness.tests (in bench/).

That targets start, refuse, limit and forward is tested by bench/run --smoke."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import tempfile
import types
import unittest
import unittest.mock

from . import causeway, jwt, measure, page, place, report, workloads
from .peers import PEERS
from .place import Trouble
from .targets import Target

H2LOAD = """TLS Protocol: TLSv1.3
Cipher: {cipher}
Server Temp Key: X25519 253 bits
requests: 4200 total, 4264 started, 4200 done, 4200 succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {ok} 2xx, 0 3xx, {refused} 4xx, 0 5xx
"""
TARGET = types.SimpleNamespace(name="nginx", title="nginx")


def read(cipher="TLS_AES_128_GCM_SHA256", failed=0, ok=4200, refused=0):
    text = H2LOAD.format(cipher=cipher, failed=failed, ok=ok, refused=refused)
    return workloads.WORKLOADS["h1"].read(text, TARGET, 2.0)


def run(target, cost, workload="h1", errors=0, memory=40.0):
    return {"target": target, "workload": workload, "is_latency_round": False, "us_per_request": cost, "rps": 1e6 / cost,
            "resident_mib": memory, "errors": errors, "foreign_share": 0.0, "system_share": 0.5}


def target(name, can=(), title=None):
    return types.SimpleNamespace(name=name, title=title or name, can=can, cannot={}, lacks="", version=lambda: "1.0")


def made(runs, idle=(), targets=None, missing=()):
    """A report of these runs, and its page."""
    loads = list(workloads.WORKLOADS.values())
    targets = targets or [target(name, {"idle", "grpc", "reload"}) for name in dict.fromkeys(
        entry["target"] for entry in [*runs, *idle])]
    outcome = report.make(runs, list(idle), targets, loads, {"runs": 1, "dur": 1.0}, missing)
    return outcome, page.markdown(outcome, loads)


def compared(runs):
    loads = [workloads.WORKLOADS[name] for name in dict.fromkeys(entry["workload"] for entry in runs)]
    names = dict.fromkeys(entry["target"] for entry in runs)
    rows = report.summary(runs, [types.SimpleNamespace(name=name) for name in names], loads)
    return report.ratios(rows, loads)


class Reading(unittest.TestCase):
    def test_the_rate_counts_answers_with_200_only(self):
        result = read(ok=4000, refused=200, failed=3)
        self.assertEqual((result["rps"], result["errors"]), (2000.0, 203))

    def test_another_cipher_is_not_comparable(self):
        with self.assertRaisesRegex(Trouble, "TLS_AES_256_GCM_SHA384"):
            read(cipher="TLS_AES_256_GCM_SHA384")

    def test_quantiles_leave_out_the_warm_up(self):
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write("1000000\t200\t9999\n")
            file.writelines(f"{1_500_000 + n}\t200\t{n}\n" for n in range(100))
        self.assertEqual(workloads.quantiles_of(file.name), {"p50_us": 50, "p99_us": 99})
        self.assertFalse(os.path.exists(file.name))


class Comparing(unittest.TestCase):
    def test_the_ratio_is_of_medians_peer_over_causeway(self):
        runs = [run("causeway", cost) for cost in (10, 20, 90)] + [run("nginx", cost) for cost in (1, 25, 30)]
        (ratio,) = compared(runs)
        self.assertEqual((ratio["ratio"], ratio["must"], ratio["goal"], ratio["verdict"]), (1.25, 1.1, 1.35, "must"))

    def test_each_verdict_is_reached_at_its_number(self):
        for cost, expected in ((10.9, "missed"), (11.0, "must"), (13.4, "must"), (13.5, "goal")):
            (ratio,) = compared([run("causeway", 10.0), run("nginx", cost)])
            self.assertEqual(ratio["verdict"], expected, cost)

    def test_a_target_with_failed_requests_has_no_ratio(self):
        for own, other, who in ((0, 1, "it"), (1, 0, "Causeway")):
            (ratio,) = compared([run("causeway", 10, errors=own), run("nginx", 20, errors=other)])
            self.assertEqual((ratio["ratio"], ratio["must"], ratio["verdict"]), (None, 1.1, f"{who} had errors"))

    def test_what_is_to_be_reached_is_shown_where_causeway_was_not_measured(self):
        _, text = made([run("causeway", 10), run("nginx", 20), run("nginx", 20, "grpc")])
        self.assertIn("| grpc | nginx | not measured | 2.00 | 2.40 | Causeway was not measured |", text)

    def test_peers_alone_have_no_ratios(self):
        self.assertEqual(compared([run("nginx", 20)]), [])

    def test_a_paced_rate_is_half_of_what_the_target_itself_reached(self):
        runs = [run("nginx", 20), run("nginx", 25), run("nginx", 50), run("causeway", 10)]
        self.assertEqual(workloads.half_of_saturation(runs, "nginx", workloads.WORKLOADS["h1-paced"]), 20_000)
        self.assertIsNone(workloads.half_of_saturation(runs, "nginx", workloads.WORKLOADS["h2-paced"]))

    def test_every_peer_and_every_row_to_reach_exists_and_no_goal_is_below_its_must(self):
        rows = {load.row for load in workloads.WORKLOADS.values() if load.row is not None}
        self.assertEqual(rows, set(report.TO_REACH))
        for row, peers in report.TO_REACH.items():
            for peer, (must, goal) in peers.items():
                self.assertIn(peer, PEERS, row)
                self.assertLessEqual(must, goal, (row, peer))
        self.assertEqual(set(PEERS), {peer for peers in report.TO_REACH.values() for peer in peers})

    def test_the_large_node_is_compared_with_the_usual_one_and_is_no_peer(self):
        for cost, verdict in ((11.0, "must"), (11.1, "missed")):
            outcome, text = made([run("causeway", 10.0), run("causeway-large", cost, memory=140.0)])
            (grown,) = outcome["growth"]
            self.assertEqual((grown["verdict"], grown["more_mib"]), (verdict, 100.0))
            self.assertEqual(outcome["ratios"], [])
            self.assertIn(f"| h1 | **+{cost * 10 - 100:.0f}%** | +10% | {verdict} | 100 |", text)

    def test_latency_with_reloads_stands_beside_latency_without(self):
        calm = {**run("causeway", 10, "h1-paced"), "p50_us": 100, "p99_us": 900}
        busy = {**run("causeway", 10, "h1-reload"), "p50_us": 110, "p99_us": 2500, "reload_seconds": [0.25, 0.5]}
        outcome, text = made([calm, busy])
        self.assertEqual(outcome["reloads"][0]["n_reloads"], 2)
        self.assertIn("| causeway | 100 | 110 | 900 | **2,500** | 2 | 0.50 | 0 |", text)


class LeavingOut(unittest.TestCase):
    def test_a_missing_peer_is_named_with_its_reason_and_in_every_table(self):
        outcome, text = made([run("causeway", 10), run("nginx", 20)], missing=[("caddy", "Caddy", "pip could not install it")])
        self.assertEqual((outcome["left_out"][0]["title"], outcome["left_out"][0]["workload"]), ("Caddy", None))
        self.assertIn("- Caddy: pip could not install it.", text)
        self.assertIn("| h1 | Caddy | not measured | 5.00 | 6.00 | it was not measured |", text)
        self.assertIn("| Caddy | not measured |", text.split("## h1:")[1])

    def test_a_target_that_cannot_do_a_workload_is_named_there_and_not_started(self):
        able, unable = target("nginx", {"grpc"}), target("causeway")
        load = workloads.WORKLOADS["grpc"]
        self.assertEqual(measure.able(load, [able, unable]), [able])
        outcome, text = made([run("nginx", 20, "grpc")], targets=[able, unable])
        self.assertNotIn("h1-reload", {item["workload"] for item in outcome["left_out"]})
        self.assertIn("| causeway | not measured |", text.split("## grpc:")[1])

    def test_the_reason_that_setup_wrote_down_is_the_one_given(self):
        with tempfile.TemporaryDirectory() as folder, unittest.mock.patch.object(place, "WORK", folder):
            self.assertIn("bench/setup was not run", PEERS["caddy"].missing())
            os.mkdir(os.path.join(folder, "absent"))
            place.write(os.path.join(folder, "absent", "caddy"), "no wheel for this machine\n")
            self.assertEqual(PEERS["caddy"].missing(), "no wheel for this machine")


class Planning(unittest.TestCase):
    def test_reloads_follow_the_calm_run_in_every_round(self):
        names = [[load.name for load in batch] for batch in measure.batches(list(workloads.WORKLOADS.values())[:-1])]
        self.assertIn(["h1-paced", "h1-reload"], names)
        self.assertEqual(max(len(batch) for batch in names), 2)

    def test_documents_of_the_larger_node_have_that_many_routes_and_each_change_differs(self):
        small, large = causeway.gateway(9000, 5), causeway.gateway(9000, 5, routes=300)
        paths = [route["match"]["path"] for route in large["routes"]]
        self.assertEqual(len(set(paths)), len(small["routes"]) + 300)
        changes = [json.dumps(causeway.gateway(9000, 5, changed=n)) for n in range(3)]
        self.assertEqual(len(set(changes)), 3)

    def test_one_line_gives_causeway_its_upstream_over_http2(self):
        with unittest.mock.patch.object(causeway, "H2_UPSTREAM", {"protocol": "h2c"}):
            document = causeway.gateway(9000, 5)
        (upstream,) = [entry for entry in document["upstreams"] if entry.get("protocol") == "h2c"]
        (route,) = [entry for entry in document["routes"] if entry["match"]["path"] == place.GRPC_PATH]
        self.assertEqual(route["upstream"], upstream["name"])

    def test_a_limit_that_refuses_nothing_or_everything_is_not_charged_rightly(self):
        subject = Target(types.SimpleNamespace(key="k"), 9000)
        subject.expect_refused(["200", "429", "429"])
        for answers in (["200", "200"], ["429"], ["200", "503"], []):
            with self.assertRaisesRegex(Trouble, "limit is not charged"):
                subject.expect_refused(answers)

    def test_lost_idle_connections_are_errors(self):
        idle = {"target": "nginx", "workload": "idle", "connections": 100, "errors": 3, "resident_before_mib": 10.0,
                "resident_mib": 12.0, "bytes_per_connection": 20971}
        self.assertIn("| nginx | **20,971** | 10 | 12 | 3 |", made([], [idle])[1])


class Options(unittest.TestCase):
    def options(self, *arguments):
        loader = importlib.machinery.SourceFileLoader("bench_run", os.path.join(place.BENCH, "run"))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_run", loader))
        loader.exec_module(module)
        with unittest.mock.patch("sys.argv", ["run", *arguments]), contextlib.redirect_stderr(io.StringIO()):
            return module.options()

    def test_a_size_adds_the_larger_node_and_smoke_saves_nothing(self):
        self.assertIsNone(self.options().size)
        self.assertEqual(self.options("--routes", "10000").size, causeway.Size(place.N_KEYS, 10_000))
        smoke = self.options("--smoke")
        self.assertTrue(smoke.no_save and smoke.runs == 1 and smoke.workloads == list(workloads.WORKLOADS))
        self.assertEqual(smoke.peers, list(PEERS))

    def test_reload_measures_causeway_alone_with_and_without(self):
        chosen = self.options("--reload")
        self.assertEqual((chosen.peers, chosen.workloads), ([], ["h1", "h1-paced", "h1-reload"]))

    def test_senseless_options_end_with_status_2(self):
        for arguments in (["--peers", "nobody"], ["--workloads", "none"], ["--idle", "0"], ["--keys", "-1"],
                          ["--reload", "--smoke"]):
            with self.assertRaises(SystemExit) as refused:
                self.options(*arguments)
            self.assertEqual(refused.exception.code, 2, arguments)


class Signing(unittest.TestCase):
    def test_a_signature_is_two_numbers_of_32_bytes_however_der_writes_them(self):
        """DER drops leading zeros and adds one before a high bit (X.690 section 8.3)."""
        high, short = b"\x00" + b"\xff" * 32, b"\x01" * 31
        der = b"\x30\x44\x02\x21" + high + b"\x02\x1f" + short
        self.assertEqual(jwt.raw_signature(der), b"\xff" * 32 + b"\x00" + short)


if __name__ == "__main__":
    unittest.main()
