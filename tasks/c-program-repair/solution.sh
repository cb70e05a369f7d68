# Writes the repaired program of this sample.
case "$HARNESS_SAMPLE" in
a)
cat > /home/agent/wordcount.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char *word;
    int count;
};

static struct entry *entries;
static size_t used, room;

static void add(const char *word) {
    for (size_t i = 0; i < used; i++) {
        if (strcmp(entries[i].word, word) == 0) {
            entries[i].count++;
            return;
        }
    }
    if (used == room) {
        room = room ? room * 2 : 8;
        entries = realloc(entries, room * sizeof *entries);
    }
    entries[used].word = malloc(strlen(word) + 1);
    strcpy(entries[used].word, word);
    entries[used].count = 1;
    used++;
}

static int compare(const void *left, const void *right) {
    const struct entry *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return strcmp(a->word, b->word);
}

int main(void) {
    size_t length = 0, size = 32;
    char *word = malloc(size);
    for (;;) {
        int c = getchar();
        if (c >= 'A' && c <= 'Z')
            c += 'a' - 'A';
        if (c >= 'a' && c <= 'z') {
            if (length + 1 == size)
                word = realloc(word, size *= 2);
            word[length++] = (char)c;
            continue;
        }
        if (length > 0) {
            word[length] = '\0';
            add(word);
            length = 0;
        }
        if (c == EOF)
            break;
    }
    if (used > 0)
        qsort(entries, used, sizeof *entries, compare);
    for (size_t i = 0; i < used; i++)
        printf("%d %s\n", entries[i].count, entries[i].word);
    return 0;
}
END
gcc -std=c11 -Wall -o /tmp/program /home/agent/wordcount.c >&2
;;
b)
cat > /home/agent/weekday.c <<'END'
#include <stdio.h>
#include <string.h>

static const char *NAMES[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
static const int LENGTHS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

static int is_leap(int year) {
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int month_length(int year, int month) {
    return LENGTHS[month - 1] + (month == 2 && is_leap(year));
}

static int day_of_year(int year, int month, int day) {
    int sum = day;
    for (int m = 1; m < month; m++)
        sum += month_length(year, m);
    return sum;
}

/* 1 January 1600 was a Saturday. */
static int weekday(int year, int month, int day) {
    int days = 5;
    for (int y = 1600; y < year; y++)
        days += 365 + is_leap(y);
    return (days + day_of_year(year, month, day) - 1) % 7;
}

static int well_formed(const char *line) {
    if (strlen(line) != 10)
        return 0;
    for (int i = 0; i < 10; i++) {
        if (i == 4 || i == 7 ? line[i] != '-' : line[i] < '0' || line[i] > '9')
            return 0;
    }
    return 1;
}

int main(void) {
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        int year = 0, month = 0, day = 0;
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '\0')
            continue;
        if (!well_formed(line) || sscanf(line, "%d-%d-%d", &year, &month, &day) != 3 || year < 1600 || month < 1 ||
            month > 12 || day < 1 || day > month_length(year, month)) {
            printf("invalid\n");
            continue;
        }
        printf("%s %d\n", NAMES[weekday(year, month, day)], day_of_year(year, month, day));
    }
    return 0;
}
END
gcc -std=c11 -Wall -o /tmp/program /home/agent/weekday.c >&2
;;
esac
echo done
