"""Ports for the servers that tests start."""

from __future__ import annotations

import socket

import pytest
from tests import ports

GIVEN_TO_OUTGOING_CONNECTIONS = 32_768  # from here on, by Linux


def test_no_port_of_a_block_can_be_given_to_an_outgoing_connection() -> None:
    assert ports.LAST + ports.BLOCK + ports.HIGHER < GIVEN_TO_OUTGOING_CONNECTIONS


def test_two_calls_and_two_workers_get_other_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ports.free_ports() != ports.free_ports()
    blocks = []
    for worker in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        blocks.append(set(ports._blocks_of_this_process()))
    assert all(blocks) and not blocks[0] & blocks[1]


@pytest.mark.parametrize("taken", [0, ports.BLOCK - 1, ports.HIGHER])
def test_a_block_with_a_taken_port_is_passed_over(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = ports.free_ports(), ports.free_ports()
    monkeypatch.setattr(ports, "_blocks", ports.deque([second, first]))  # the next that is looked at is `first`
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", first + taken))
        holder.listen()
        assert ports.free_ports() == second
