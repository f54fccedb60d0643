"""Signals that come while something is written, or just after."""

from __future__ import annotations

import signal

import pytest

from unspoken.common.interrupt import StopRequest, carry_signals_over, end_if_asked, remember_signal


def test_a_second_ctrl_c_is_obeyed_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        signal.raise_signal(signal.SIGINT)


def test_under_torchrun_the_second_one_is_its_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    with StopRequest(is_launched=True) as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert stop.heed()
    monkeypatch.setattr("unspoken.common.interrupt.ECHO_S", -1.0)
    with pytest.raises(KeyboardInterrupt), StopRequest(is_launched=True):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_a_signal_that_came_too_late_for_the_work_counts_before_the_next() -> None:
    with carry_signals_over():
        with StopRequest():
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            end_if_asked()
        end_if_asked()  # once


def test_a_signal_that_was_heeded_does_not_count_again() -> None:
    with carry_signals_over():
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.heed()
        end_if_asked()
        with pytest.raises(SystemExit), StopRequest():
            signal.raise_signal(signal.SIGINT)
            raise SystemExit
        end_if_asked()


def test_a_signal_that_came_as_one_piece_of_work_ended_stops_the_next() -> None:
    with carry_signals_over():
        with StopRequest():
            signal.raise_signal(signal.SIGINT)
        with StopRequest() as stop:
            assert stop.heed()
        end_if_asked()


def test_a_signal_that_came_as_all_work_was_done_is_forgotten() -> None:
    with carry_signals_over(), StopRequest():
        signal.raise_signal(signal.SIGINT)
    end_if_asked()
    with StopRequest() as stop:  # of work of one step
        assert not stop.requested
        signal.raise_signal(signal.SIGINT)
    with carry_signals_over():
        end_if_asked()
        with StopRequest() as stop:
            assert not stop.requested
        with StopRequest():
            signal.raise_signal(signal.SIGINT)
        with carry_signals_over():  # work within work
            end_if_asked()
        with pytest.raises(KeyboardInterrupt):
            end_if_asked()


def test_one_within_another_shares_its_signal() -> None:
    with carry_signals_over():
        with StopRequest() as outer:
            signal.raise_signal(signal.SIGTERM)
            with StopRequest() as inner:
                assert inner.requested
        assert outer.requested
        with StopRequest(), StopRequest() as inner:  # nobody has heeded it yet
            assert inner.heed()
        end_if_asked()
    with StopRequest() as outer:
        with StopRequest():
            signal.raise_signal(signal.SIGTERM)
        assert outer.heed()  # it came too late for the inner one


def test_a_signal_whose_exit_was_lost_is_obeyed_before_the_next_step() -> None:
    """What a handler raises within a __del__ is told by Python and lost."""
    with carry_signals_over():
        remember_signal(signal.SIGINT)
        with StopRequest() as stop:
            assert stop.heed()
        remember_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            end_if_asked()
    remember_signal(signal.SIGINT)  # while the libraries were imported
    with carry_signals_over(), pytest.raises(KeyboardInterrupt):
        end_if_asked()
    with carry_signals_over():
        end_if_asked()
