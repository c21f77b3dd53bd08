"""mount.affs: make one mount (mount(8), "External helpers"; docs/mounting.md).

    mount.affs VOLUME DIRECTORY [-sfnvrw] [-t TYPE] [-o OPTIONS]

Exit statuses: 0 mounted, 1 usage or permission, 2 system error, 4 internal error, 8 interrupted, 32
the mount failed; each but the first with one line on stderr: what, where, what to do.
"""

import os
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version

from affs_fuse.daemon.amiga import is_amiga_image, kernel_mount_command
from affs_fuse.daemon.background import (
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    StatusPipe,
    fork_daemon,
)
from affs_fuse.daemon.config import HELP, CommandLine, Environment, MountConfig, parse_arguments
from affs_fuse.daemon.helpers import install_helpers, umount_helper_installed
from affs_fuse.daemon.log import configure_logging, default_target
from affs_fuse.daemon.service import Service, exit_status_of
from affs_fuse.daemon.wiring import check_source
from affs_fuse.errors import AffsError, Category
from affs_fuse.fuse.mount import clear_dead_mount
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.volume import Volume

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """The exit status. In the background the child's life is inside, too."""
    pipe = StatusPipe(None)
    try:
        line = parse_arguments(sys.argv[1:] if arguments is None else arguments)
        if line.action != "mount":
            return _other_action(line)
        environment = Environment.capture()
        assert line.config is not None
        config = _prepare(line, line.config, environment)
        if line.fake:
            return 0
        if not line.foreground:
            pipe = fork_daemon()
            environment = Environment.capture()
        _start_logging(line, config, environment)
        return Service(config, environment, pipe, software_version()).run()
    except AffsError as error:
        return _report(pipe, exit_status_of(error), _line_of(error))
    except KeyboardInterrupt:
        return _report(pipe, EXIT_INTERRUPTED, "interrupted; not mounted")
    except Exception as error:  # noqa: BLE001 - the caller gets a status whatever happens
        detail = "".join(traceback.format_exception(error))
        return _report(pipe, EXIT_INTERNAL, f"internal error, please report it:\n{detail}")


def software_version() -> str:
    """As installed; "" in a checkout that is not."""
    try:
        return version("affs")
    except PackageNotFoundError:
        return ""


def _report(pipe: StatusPipe, status: int, text: str) -> int:
    text = f"mount.affs: {text}"
    if not pipe.waited_for:
        sys.stderr.write(text.rstrip("\n") + "\n")
    pipe.report(status, text)
    return status


def _line_of(error: AffsError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message


def _other_action(line: CommandLine) -> int:
    if line.action == "install_helpers":
        installed = install_helpers(line.prefix)
        sys.stdout.write("".join(f"installed {path}\n" for path in installed.paths))
        sys.stdout.write("".join(f"{note}\n" for note in installed.notes))
    elif line.action == "version":
        sys.stdout.write(f"mount.affs {software_version() or '(not installed)'}\n")
    else:
        sys.stdout.write(HELP + "\n")
    return 0


def _prepare(line: CommandLine, config: MountConfig, environment: Environment) -> MountConfig:
    """Everything that can be found out before the daemon starts. Does not return for an Amiga
    image, nor where mount(8) has to be asked first."""
    check_source(config.volume)
    if is_amiga_image(config.volume):
        _become(
            kernel_mount_command(
                config.volume, config.directory, line.words, verbose=line.verbose, fake=line.fake
            )
        )
    clear_dead_mount(config.directory, privileged=environment.privileged)
    if line.fake:
        Volume.open(config.volume, OpenOptions(read_only=True)).close()
        return config
    if _mount8_first(line, environment):
        words = ",".join([*(_quoted(word) for word in line.words), "uhelper=fuse.affs"])
        _become(["mount", "-t", "fuse.affs", "-o", words, config.volume, config.directory])
    return config


def _mount8_first(line: CommandLine, environment: Environment) -> bool:
    """Only mount(8) can note that umount(8) is to call our helper, which waits for the daemon."""
    return (
        environment.privileged
        and not line.foreground
        and not line.via_mount8
        and not line.no_table
        and umount_helper_installed()
    )


def _quoted(word: str) -> str:
    name, equals, value = word.partition("=")
    return f'{name}="{value}"' if equals and "," in value else word


def _become(command: list[str]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise AffsError(
            "mount.program", Category.IO, f"cannot run {command[0]}: {error.strerror}",
            hint="install util-linux",
        ) from error


def _start_logging(line: CommandLine, config: MountConfig, environment: Environment) -> None:
    target = config.log or default_target(foreground=line.foreground)
    configure_logging(
        target,
        volume=config.volume,
        journal_stream=bool(environment.journal_stream),
        verbose=line.verbose,
        json_lines=config.log_format == "json",
    )


if __name__ == "__main__":
    sys.exit(main())
