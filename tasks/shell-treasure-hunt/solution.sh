# Walks the trail with the tools that BusyBox has.
cd /hunt/rooms || exit 1
twin=$(md5sum */*.txt | sort | awk '$1 == last { print $2; exit } { last = $1 }')
room=$(head -n 1 "$twin")
longest=$(wc -l "$room"/*.txt | grep -v ' total$' | sort -n | tail -n 1 | awk '{ print $2 }')
number=$(tail -n 1 "$longest" | awk '{ print $3 }')
sort -u /hunt/words.txt | sed -n "${number}p"
