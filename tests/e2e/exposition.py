# SPDX-License-Identifier: Apache-2.0
"""Prometheus' text format 0.0.4, read strictly: whatever a collector might reject, or misread, is an AssertionError."""

import re

from harness import run

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)\n")
HEAD = re.compile(rf"# (HELP|TYPE) ({NAME}) (.+)\n")
UNITS = ("_seconds", "_bytes", "_total", "_info")


def unescape(value):
    return re.sub(r"\\(.)", lambda m: "\n" if m.group(1) == "n" else m.group(1), value)


def labels_of(text):
    found, at = {}, 0
    while text and at < len(text):
        match = LABEL.match(text, at)
        assert match, f"no labels: {text!r}"
        name, value = match.group(1), unescape(match.group(2))
        assert name not in found, f"a label twice: {text!r}"
        found[name] = value
        at = match.end()
        assert at == len(text) or text[at] == ",", text
        at += 1
    return found


class Metrics:
    """samples: {name: [(labels, value)]}; `value`, `sum` and `series` pick by name and some labels."""

    def __init__(self, text):
        assert text == "" or text.endswith("\n"), "the last line is whole"
        self.types, self.helps, self.samples = {}, {}, {}
        family, seen = None, set()
        for line in text.splitlines(keepends=True):
            head = HEAD.fullmatch(line)
            if head:
                family = self._head(family, *head.groups())
                continue
            match = SAMPLE.fullmatch(line)
            assert match, f"no sample: {line!r}"
            name, labels, value = match.group(1), labels_of(match.group(2)), float(match.group(3))
            assert family == self.family(name), f"{name} stands below {family}"
            key = (name, tuple(sorted(labels.items())))
            assert key not in seen, f"twice: {key}"
            seen.add(key)
            self.samples.setdefault(name, []).append((labels, value))
        self._check()

    def _head(self, family, kind, name, rest):
        into = self.helps if kind == "HELP" else self.types
        assert name not in into, f"a second {kind} of {name}"
        assert kind == "HELP" or (name == family and rest in ("counter", "gauge", "histogram")), (kind, name, rest)
        into[name] = rest
        return name

    def family(self, name):
        base = re.sub("_(bucket|sum|count)$", "", name)
        return base if self.types.get(base) == "histogram" else name

    def _check(self):
        assert set(self.types) == set(self.helps) == {self.family(name) for name in self.samples}
        for name, kind in self.types.items():
            assert name.startswith("wasmocifs_")
            assert (kind == "counter") == name.endswith("_total"), (name, kind)
            assert kind != "histogram" or name.endswith("_seconds")
            if kind == "histogram":
                self._check_histogram(name)
            else:
                assert all(value >= 0 for _, value in self.samples[name])

    def _check_histogram(self, name):
        buckets = {}
        for labels, value in self.samples[f"{name}_bucket"]:
            labels = dict(labels)
            bound = float(labels.pop("le"))
            buckets.setdefault(tuple(sorted(labels.items())), []).append((bound, value))
        counts = {tuple(sorted(labels.items())): value for labels, value in self.samples[f"{name}_count"]}
        sums = {tuple(sorted(labels.items())): value for labels, value in self.samples[f"{name}_sum"]}
        assert set(buckets) == set(counts) == set(sums), f"{name}: not all of bucket, sum and count"
        for key, series in buckets.items():
            bounds, values = [b for b, _ in series], [v for _, v in series]
            assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), (name, bounds)
            assert values == sorted(values) and values[-1] == counts[key] > 0, (name, key, values)
            least = sum((series[i][1] - series[i - 1][1]) * series[i - 1][0] for i in range(1, len(series)))
            most = sum((series[i][1] - (series[i - 1][1] if i else 0)) * series[i][0]
                       for i in range(len(series)) if series[i][1] != (series[i - 1][1] if i else 0))
            assert least * 0.999 - 1e-5 <= sums[key] <= most * 1.001 + 1e-5, (name, key, least, sums[key], most)

    def series(self, name, **labels):
        return [(found, value) for found, value in self.samples.get(f"wasmocifs_{name}", [])
                if all(found.get(key) == str(wanted) for key, wanted in labels.items())]

    def sum(self, name, **labels):
        return sum(value for _, value in self.series(name, **labels))

    def value(self, name, **labels):
        found = self.series(name, **labels)
        assert len(found) == 1, (name, labels, found)
        return found[0][1]

    def operations(self, operation, outcome):
        return self.sum("operation_duration_seconds_count", operation=operation, outcome=outcome)

    def requests(self, outcome, **labels):
        return self.sum("host_request_duration_seconds_count", outcome=outcome, **labels)


def scrape(m):
    """By the command, of one mount."""
    result = run([m.binary, "status", "--metrics", m], env=m.env).ok()
    assert result.err == ""
    return Metrics(result.out)
