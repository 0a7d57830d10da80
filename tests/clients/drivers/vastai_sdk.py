"""The official SDK's `VastAI`; the address and the key come from the environment, as for its users."""

from calls import serve
from vastai import VastAI

serve(VastAI())
