# Prints the account whose first password login came from an address that had failed at least five times before.
log=/data/auth.log
[ -f "$log" ] || log=/var/log/gate/auth.log
awk '
  /Failed password/ { for (i = 1; i < NF; i++) if ($i == "from") failed[$(i + 1)]++ }
  /Accepted/ {
    for (i = 1; i < NF; i++) if ($i == "from") address = $(i + 1)
    if ($6 == "Accepted" && $7 == "password" && failed[address] >= 5 && !(address in seen)) print $9
    seen[address] = 1
  }
' "$log"
