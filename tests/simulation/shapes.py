"""What is simulated: which accounts, with which settings, in a world of which size. Small numbers that read as Python."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from shopperd.providers.pacing import Published
from shopperd.providers.tensordock.wire_v0 import V0
from shopperd.providers.tensordock.wire_v2 import V2
from shopperd.providers.vastai.adapter import BASE_URL, PUBLISHED
from shopperd.settings import (
    AccountSettings,
    DestroySettings,
    JobSettings,
    JobsSettings,
    OrphanSettings,
    SecretSource,
    SessionSettings,
    Settings,
)
from shopperd.simulator import WorldSettings

VAST, DOCK, OLD_DOCK = "vast", "dock-v2", "dock-v0"
ACCOUNTS = (VAST, DOCK, OLD_DOCK)
"""By their names in the configuration; each has its own credentials."""

PROVIDERS: Mapping[str, str] = {VAST: "vastai", DOCK: "tensordock", OLD_DOCK: "tensordock"}
ORIGINS: Mapping[str, str] = {VAST: BASE_URL, DOCK: V2.base_url, OLD_DOCK: V0.base_url}
PUBLISHED_OF: Mapping[str, Published] = {VAST: PUBLISHED, DOCK: V2.published, OLD_DOCK: V0.published}

SECRETS: Mapping[str, Mapping[str, str]] = {
    VAST: {"VAST": "a-good-vast-key-of-vast"},
    DOCK: {"DOCK": "a-good-dock-token-of-v2", "DOCK_ID": "a-good-dock-id-of-v2"},
    OLD_DOCK: {"OLD_DOCK": "a-good-dock-token-of-v0", "OLD_DOCK_ID": "a-good-dock-id-of-v0"},
}
"""Of each account what the environment holds for it."""

ENVIRON = {name: value for secrets in SECRETS.values() for name, value in secrets.items()}


@frozen
class Shape:
    """One deployment and its world.

    Attributes:
        sweep: seconds from sweep to sweep; all other times follow from it.
        status_share: the status job's interval, as a share of that.
        max_share_per_hour: as in the settings; 1.0 is no limit.
        shared: several processes can open the store, as with a database server; a lease says which one acts.
        offers: how many there are on the market.
    """

    accounts: tuple[str, ...] = (VAST,)
    exclusive: tuple[str, ...] = ()
    deployment: str = ""
    sweep: float = 60.0
    status_share: float = 1 / 3
    sightings: int = 3
    max_share_per_hour: float = 1.0
    boot: float = 0.0
    shared: bool = False
    offers: int = 24

    @property
    def settings(self) -> Settings:
        """As the operator would set it."""
        sweep = self.sweep
        return Settings(
            deployment=self.deployment,
            accounts={name: self._account(name) for name in self.accounts},
            jobs=JobsSettings(
                offers=JobSettings(4 * sweep),
                status=JobSettings(self.status_share * sweep),
                sweep=JobSettings(sweep),
            ),
            orphans=OrphanSettings(
                sightings=self.sightings, grace=2 * sweep, max_share_per_hour=self.max_share_per_hour
            ),
            destroys=DestroySettings(retry_min=sweep / 12, retry_max=5 * sweep),
            sessions=SessionSettings(create_deadline=3 * sweep),
        )

    def world(self, seed: int) -> WorldSettings:
        """The pretend world."""
        return WorldSettings(seed=seed, offers=self.offers, nodes=5, boot_seconds=self.boot)

    def _account(self, name: str) -> AccountSettings:
        variables = [*SECRETS[name]]
        words = ("api_key",) if name == VAST else ("api_token", "auth_id")
        return AccountSettings(
            name,
            PROVIDERS[name],
            api={DOCK: "v2", OLD_DOCK: "v0"}.get(name),
            secrets={word: SecretSource(env=variable) for word, variable in zip(words, variables, strict=True)},
            exclusive=name in self.exclusive,
            request_timeout=max(5.0, self.sweep / 2),
        )
