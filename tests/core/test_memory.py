"""Memory that this process may take."""

from math import inf

import pytest

from napari_tessera.core.memory import free_bytes, group_bytes_left

GROUPS = {"version 2": ("0::/jobs/one", "", "memory.max", "memory.current", "inactive_file"),
          "version 1": ("4:cpu,memory:/jobs/one", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                        "total_inactive_file")}  # fmt: skip


@pytest.fixture(params=GROUPS)
def group(request, tmp_path):
    """Make a control group; return how to set its limit and use, and how much is left then."""
    line, folder, limit, use, cache = GROUPS[request.param]
    (tmp_path / "cgroup").write_text(f"1:name=systemd:/\n{line}\n")

    def left(path, allowed, used, given_up=0):
        here = tmp_path / "fs" / folder / path
        here.mkdir(parents=True, exist_ok=True)
        (here / limit).write_text(f"{allowed}\n")
        (here / use).write_text(f"{used}\n")
        (here / "memory.stat").write_text(f"anon 7\n{cache} {given_up}\n")
        return group_bytes_left(tmp_path / "cgroup", tmp_path / "fs")

    return left


def test_a_group_without_a_limit_leaves_all(group):
    assert group("jobs/one", "max", 5) == inf


def test_a_group_leaves_what_is_not_used_and_what_the_system_can_give_up(group):
    assert group("jobs/one", 100, 70, 20) == 50


def test_the_groups_above_count_too(group):
    group("jobs/one", 100, 10)
    assert group("jobs", 100, 70) == 30


def test_more_than_allowed_leaves_nothing(group):
    assert group("jobs/one", 100, 170) == 0


def test_where_there_are_no_groups_all_is_left(tmp_path):
    assert group_bytes_left(tmp_path / "none", tmp_path) == inf


def test_some_memory_is_free_here():
    assert 0 < free_bytes() < 2**50
