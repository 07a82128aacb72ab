"""Tests of the arithmetic and of the parsing: python3 -m unittest harness.tests (in bench/)."""

import os
import tempfile
import types
import unittest

from . import report, workloads
from .place import Trouble

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
        self.assertEqual(compared([run("causeway", 10), run("nginx", 20, errors=1)]), [])
        self.assertEqual(compared([run("causeway", 10, errors=1), run("nginx", 20)]), [])

    def test_a_paced_rate_is_half_of_what_the_target_itself_reached(self):
        runs = [run("nginx", 20), run("nginx", 25), run("nginx", 50), run("causeway", 10)]
        self.assertEqual(workloads.half_of_saturation(runs, "nginx", "h1-paced"), 20_000)
        self.assertIsNone(workloads.half_of_saturation(runs, "nginx", "h2-paced"))


if __name__ == "__main__":
    unittest.main()
