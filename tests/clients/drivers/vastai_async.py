"""The official `AsyncClient`; queries come as plain dicts."""

import ssl
import sys

from calls import serve
from vastai import AsyncClient
from vastai.data.instance import InstanceConfig
from vastai.data.query import Query


class Client:
    def __init__(self, url):
        self.client = AsyncClient(vast_server=url)
        # Unless it has a context already, the client fetches the provider's own certificate first.
        self.client._ssl_context = ssl.create_default_context()

    async def search(self, query, **options):
        return await self.client.search(Query(query), **options)

    async def create_instance(self, offer_id, **config):
        return await self.client.create_instance(offer_id, InstanceConfig(**config))

    async def show_instances(self):
        return await self.client.show_instances()

    async def destroy_instance(self, instance_id):
        return await self.client.destroy_instance(instance_id)

    async def close(self):
        return await self.client.close(force=True)


serve(Client(sys.argv[1]))
