"""Zarr's view of an object store."""

from typing import Any

from zarr.core.buffer import Buffer
from zarr.storage import ObjectStore


class Objects(ObjectStore[Any]):
    """Zarr's store on obstore, safe where the server ignores conditions.

    Zarr makes every group above a new one by a conditional write. A server that ignores the condition would replace
    the attributes of the group that is there.
    """

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write an object if there is none of that name; nobody else creates the same at the same time."""
        if not await self.exists(key):
            await self.set(key, value)
