"""Who gave wrong tokens lately."""

from shopperd.web.failures import PEERS_MAX, SECONDS_PER_TRY, TRIES, Failures


def test_tries_are_spent_one_by_one_and_come_back_one_by_one() -> None:
    failures = Failures()
    for _ in range(TRIES):
        assert failures.wait_seconds("a", 0.0) == 0
        failures.count("a", 0.0)
    assert failures.wait_seconds("a", 0.0) == SECONDS_PER_TRY
    assert failures.wait_seconds("a", SECONDS_PER_TRY) == 0
    failures.count("a", SECONDS_PER_TRY)
    assert failures.wait_seconds("a", SECONDS_PER_TRY) == SECONDS_PER_TRY


def test_one_address_does_not_speak_for_another() -> None:
    failures = Failures()
    for _ in range(2 * TRIES):
        failures.count("a", 0.0)
    assert failures.wait_seconds("b", 0.0) == 0


def test_only_so_many_addresses_are_remembered() -> None:
    failures = Failures()
    for _ in range(2 * TRIES):
        failures.count("first", 0.0)
    for number in range(PEERS_MAX):
        failures.count(str(number), 0.0)
    assert failures.wait_seconds("first", 0.0) == 0
