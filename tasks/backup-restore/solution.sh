# Copies the files of the newest backup whose checksums agree, and prints its date.
for folder in $(ls -rd /backups/*/); do
    if (cd "$folder" && sha256sum --quiet --strict -c SHA256SUMS >&2); then
        mkdir /home/agent/restored
        cp "$folder"/*.txt /home/agent/restored/
        basename "$folder"
        exit 0
    fi
done
exit 1
