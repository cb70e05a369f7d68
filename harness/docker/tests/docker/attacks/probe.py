"""What every probe begins with: one line for each attempt, "name<TAB>how it ended"."""
import ctypes, errno, os, socket, sys

libc = ctypes.CDLL(None, use_errno=True)


def tell(name, how):
    print(name + "\t" + str(how), flush=True)


def word(number):
    return ctypes.c_long(number) if isinstance(number, int) else number


def syscall(name, number, *args):
    ctypes.set_errno(0)
    if libc.syscall(word(number), *map(word, args)) == -1:
        tell(name, errno.errorcode.get(ctypes.get_errno(), "?"))
    else:
        tell(name, "done")


def attempt(name, act):
    try:
        tell(name, "done " + repr(act())[:60])
    except OSError as error:
        tell(name, errno.errorcode.get(error.errno, "?"))


def open_as(path, flags):
    fd = os.open(path, flags)
    try:
        return os.read(fd, 4) if flags & 3 == os.O_RDONLY else os.write(fd, b"1")
    finally:
        os.close(fd)


def write_to(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)

