# a: the service says which digit is wrong. b: a ticket follows from its number, which the service tells.
python3 - <<'END'
import os
import re
import socket
import zlib

lines = socket.create_connection(("lockers", 4000), timeout=20).makefile("rw", encoding="ascii", newline="\n")
lines.readline()


def ask(text):
    lines.write(text + "\n")
    lines.flush()
    return lines.readline().strip()


if os.environ["HARNESS_SAMPLE"] == "a":
    code = ["0"] * 10
    while (said := ask("open cedar " + "".join(code))).startswith("wrong digit"):
        place = int(said.split()[-1]) - 1
        code[place] = str(int(code[place]) + 1)
else:
    number = re.search(r"\d+", ask("lost maple")).group()
    said = ask(f"redeem maple {zlib.crc32(f'maple#{number}'.encode()) % 1000000:06}")
print(re.search(r"flag\{[a-z-]+\}", said).group())
END
