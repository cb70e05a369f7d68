# Recovers the flag from the known beginning of the note, by trying every seed, or from the reused key.
cd /home/agent/puzzle || exit 1
exec python3 - "$HARNESS_SAMPLE" <<'END'
import re
import sys

START = b"MEMO: "
note = bytes.fromhex(open("note.hex").read())


def repeated_key():
    key = bytes(left ^ right for left, right in zip(note, START))[:5]
    return bytes(byte ^ key[index % 5] for index, byte in enumerate(note))


def every_seed():
    for seed in range(65536):
        state, plain = seed, bytearray()
        for byte in note:
            state = (state * 4005 + 8191) % 65536
            plain.append(byte ^ (state >> 8))
            if len(plain) == len(START) and plain != START:
                break
        else:
            if re.search(rb"flag\{[a-z-]+\}", plain) and max(plain) < 128:
                return bytes(plain)


def reused_key():
    other = bytes.fromhex(open("other.hex").read())
    known = open("other.txt", "rb").read()
    return bytes(a ^ b ^ c for a, b, c in zip(note, other, known))


plain = {"a": repeated_key, "b": every_seed, "c": reused_key}[sys.argv[1]]()
print(re.search(rb"flag\{[a-z-]+\}", plain).group().decode())
END
