"""The official `SyncClient`; queries come as plain dicts."""

import sys

from calls import serve
from vastai import SyncClient
from vastai.data.instance import InstanceConfig
from vastai.data.query import Query


class Client:
    def __init__(self, url):
        self.client = SyncClient(vast_server=url)

    def search(self, query, **options):
        return self.client.search(Query(query), **options)

    def create_instance(self, offer_id, **config):
        return self.client.create_instance(offer_id, InstanceConfig(**config))

    def show_instances(self):
        return self.client.show_instances()

    def destroy_instance(self, instance_id):
        return self.client.destroy_instance(instance_id)


serve(Client(sys.argv[1]))
