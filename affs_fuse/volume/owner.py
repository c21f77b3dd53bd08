"""The owner block: who has the volume open for writing.

docs/specs/DiskLayout.md, "Owner block"; semantics.md, promise 7. flock and O_EXCL keep other
processes of this machine away; the block is for what they do not reach: another machine on a
shared device. An unclean owner of another machine is believed dead only after its heartbeat stood
still for 10 s, or on --takeover.
"""

from collections.abc import Callable
from dataclasses import dataclass

from affs_fuse.core.codec import Owner, verify_owner
from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.core.errors import StructureError
from affs_fuse.device.device import Device, device_error
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume import layout

__all__ = [
    "HEARTBEAT_SILENCE_S",
    "Host",
    "Ownership",
    "claim",
    "read_owner",
    "read_owners",
    "write_owner",
]

HEARTBEAT_SILENCE_S = 10.0
STATE_CLEAN, STATE_OPEN = 0, 1


@dataclass(frozen=True, slots=True)
class Host:
    """Who we are. machine_id and boot_id: 16 bytes each, from /etc/machine-id and the kernel."""

    machine_id: bytes
    boot_id: bytes
    pid: int
    name: str


def read_owners(device: Device) -> list[Owner]:
    """The good copies, of whatever volume."""
    found: list[Owner] = []
    for region in range(len(layout.REGIONS)):
        block, result = device.read(layout.owner_offset(region), BLOCK_SIZE)
        if not result.ok:
            continue
        try:
            verify_owner(block)
        except StructureError:
            continue
        found.append(Owner.unpack(block))
    return found


def read_owner(device: Device, uuid: bytes) -> Owner | None:
    """The newer good copy, or None (a volume that was never opened, or both copies damaged)."""
    ours = [owner for owner in read_owners(device) if owner.uuid == uuid]
    return max(ours, key=lambda owner: owner.heartbeat, default=None)


def write_owner(device: Device, owner: Owner) -> None:
    """Both copies, no barrier. Errors: device.io."""
    block = owner.pack()
    for region in range(len(layout.REGIONS)):
        offset = layout.owner_offset(region)
        result = device.write(offset, [block])
        if not result.ok:
            raise device_error("writing the owner block of", device.identity, offset, result)


def claim(
    device: Device,
    uuid: bytes,
    host: Host,
    *,
    takeover: bool,
    sleep: Callable[[float], None],
) -> Owner | None:
    """Make sure that no other machine works on the volume; the former owner, if it did not close
    cleanly.

    Waits up to HEARTBEAT_SILENCE_S where another machine did not. Errors: volume.busy.
    """
    owner = read_owner(device, uuid)
    if owner is None or owner.state == STATE_CLEAN:
        return None
    if owner.machine_id == host.machine_id or takeover:
        return owner
    waited = 0.0
    while waited < HEARTBEAT_SILENCE_S:
        sleep(0.5)
        waited += 0.5
        now = read_owner(device, uuid)
        if now is None or now.state == STATE_CLEAN:
            return None
        if now.heartbeat != owner.heartbeat:
            name = now.host.rstrip(b"\0").decode("utf-8", "replace")
            raise AffsError(
                "volume.busy",
                Category.BUSY,
                f"{device.identity.path} is in use on host {name!r} by process {now.pid}",
                hint="unmount it there first",
                retryable=True,
                details={"host": name, "pid": now.pid},
            )
    return owner


class Ownership:
    """Our entry in the owner block, from claim to release. A read-only opening has none: active
    False.
    """

    def __init__(self, device: Device, uuid: bytes, session: bytes, host: Host) -> None:
        self._device = device
        self._uuid = uuid
        self._session = session
        self._host = host
        self._beats = 0
        self.active = False

    def begin(self, now_ns: int, heartbeat: int) -> None:
        """Say that the volume is ours. heartbeat: of the owner before. Errors: device.io."""
        self.active = True
        self._beats = heartbeat
        self.beat(now_ns)

    def beat(self, now_ns: int) -> None:
        if self.active:
            self._beats += 1
            write_owner(self._device, self._entry(STATE_OPEN, now_ns))

    def release(self, now_ns: int) -> None:
        """Say that it was closed cleanly. Errors: device.io."""
        if self.active:
            self._beats += 1
            write_owner(self._device, self._entry(STATE_CLEAN, now_ns))
            self.active = False

    def _entry(self, state: int, now_ns: int) -> Owner:
        name = self._host.name.encode("utf-8", "surrogateescape")[:63]
        return Owner(
            uuid=self._uuid,
            session=self._session,
            machine_id=self._host.machine_id,
            boot_id=self._host.boot_id,
            pid=self._host.pid,
            heartbeat=self._beats,
            time_ns=now_ns,
            state=state,
            host=name.ljust(64, b"\0"),
        )
