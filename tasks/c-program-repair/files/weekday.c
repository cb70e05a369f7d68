/* Tells the day of the week, and of the year.
 *
 * Reads dates from standard input, one to a line, as YYYY-MM-DD (Gregorian calendar, years 1600 to 9999). Prints
 * for each line "DAYNAME N": the English name of the weekday in full and the number of the day in its year
 * (1 January is 1). For a line that is not such a date (wrong form, or a day that does not exist) it prints
 * "invalid". Empty lines are skipped. Exits with 0.
 */
#include <stdio.h>
#include <string.h>

static const char *NAMES[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
static const int LENGTHS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

static int is_leap(int year) {
    return year % 4 == 0;
}

static int month_length(int year, int month) {
    return LENGTHS[month] + (month == 2 && is_leap(year));
}

static int day_of_year(int year, int month, int day) {
    int sum = day;
    for (int m = 1; m <= month; m++)
        sum += month_length(year, m);
    return sum;
}

/* 1 January 1600 was a Saturday. */
static int weekday(int year, int month, int day) {
    int days = 5;
    for (int y = 1600; y < year; y++)
        days += 365 + is_leap(y);
    return (days + day_of_year(year, month, day)) % 7;
}

int main(void) {
    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        int year, month, day;
        line[strlen(line) - 1] = '\0';
        if (line[0] == '\0')
            continue;
        if (sscanf(line, "%d-%d-%d", &year, &month, &day) != 3 || day > month_length(year, month)) {
            printf("invalid\n");
            continue;
        }
        printf("%s %d\n", NAMES[weekday(year, month, day)], day_of_year(year, month, day));
    }
    return 0
}
