"""Helpers for scorers: reads what an agent left, and runs an agent's code without trusting it.

Several tasks carry a copy of this file; keep the copies identical.
"""

import ctypes
import os
import resource
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import traceback

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522
OUTPUT_CAP = 1 << 20
# System calls by which one process harms another, on x86-64: rt_sigqueueinfo, kill, tkill, tgkill, rt_tgsigqueueinfo,
# pidfd_send_signal, ptrace, process_vm_writev.
HARMFUL = (129, 62, 200, 234, 297, 424, 101, 311)
PRLIMIT = 302


def main(check):
    """Exits 0 if `check()` is true, 1 if it is false, 2 if the scorer itself broke."""
    try:
        passed = check()
    except Exception:
        traceback.print_exc()
        sys.exit(2)
    print("passed" if passed else "failed")
    sys.exit(0 if passed else 1)


def read_text(path, cap=OUTPUT_CAP):
    """Returns the text of a plain file, or None if it is missing, a link, not a file, or too large."""
    if os.path.realpath(path) != path:
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_size > cap:
        os.close(handle)
        return None
    with os.fdopen(handle, "rb") as file:
        return file.read(cap).decode("utf-8", errors="replace")


def hide(folder="/score"):
    """Closes the scoring files to code that `run` starts; the scorer itself can still read them."""
    os.chmod(folder, 0o700)
    os.chown(folder, 65534, 65534)


def give_up_privileges():
    # The child keeps user id 0 (there is no capability to change it) but loses every capability, for good:
    # no_new_privs keeps execve from handing them back.
    if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if LIBC.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    if os.uname().machine == "x86_64":
        forbid_harm()


def forbid_harm():
    """Refuses signals and the like for good, so that the child can't end the scorer, which has the same user id."""
    load, equal, at_least, end = 0x20, 0x15, 0x35, 0x06
    steps = [(load, 0, 0, 4), (equal, 1, 0, 0xC000003E), (end, 0, 0, 0x00050001)]
    steps += [(load, 0, 0, 0), (at_least, 0, 1, 0x40000000), (end, 0, 0, 0x00050001)]
    for number in HARMFUL:
        steps += [(equal, 0, 1, number), (end, 0, 0, 0x00050001)]
    # prlimit is fine for the process itself (id 0), not for others.
    steps += [(equal, 0, 3, PRLIMIT), (load, 0, 0, 16), (equal, 1, 0, 0), (end, 0, 0, 0x00050001)]
    steps += [(end, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    if LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def run(argv, folder, stdin="", seconds=5, memory=256 << 20):
    """Runs a program in `folder`; returns (exit code or None after a timeout, its standard output)."""

    def prepare():
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_CAP, OUTPUT_CAP))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        give_up_privileges()

    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder, "TMPDIR": folder, "LC_ALL": "C.UTF-8"}
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
        given.write(stdin.encode())
        given.seek(0)
        try:
            process = subprocess.Popen(
                argv, cwd=folder, env=environment, stdin=given, stdout=output, stderr=subprocess.DEVNULL,
                start_new_session=True, preexec_fn=prepare,
            )
        except BlockingIOError:
            # An earlier run left so many processes that no more can be started: that is the agent's doing.
            return None, ""
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            code = None
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        output.seek(0)
        return code, output.read(OUTPUT_CAP).decode("utf-8", errors="replace")
