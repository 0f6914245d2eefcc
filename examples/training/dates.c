/* Dates and their texts. */
#include "dates.h"

#include <stdio.h>
#include <string.h>

static const char *const months[] = {"January",   "February", "March",    "April",
                                     "May",       "June",     "July",     "August",
                                     "September", "October",  "November", "December"};
static const char *const weekdays[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                       "Friday", "Saturday", "Sunday"};

/* Capital letters stand for a part of the date, everything else for itself. */
static const char *const styles[DATE_STYLES] = {
    "D M Y",         /* 14 March 2024 */
    "M D, Y",        /* March 14, 2024 */
    "D S Y",         /* 14 Mar 2024 */
    "the O of M, Y", /* the 14th of March, 2024 */
    "W, D M Y",      /* Thursday, 14 March 2024 */
    "Y, M O",        /* 2024, March 14th */
};

/* What texts are made of. */
static const char alphabet[] = " ,0123456789ADFJMNOSTWabcdefghilmnoprstuvy";
static const char out_alphabet[DATE_OUT_SYMBOLS + 1] = "0123456789-";

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

void dates_list(date dates[DATE_COUNT])
{
    int count = 0; /* 1 January 1900 was a Monday */
    for (int year = 1900; year < 2100; year++)
        for (int month = 1; month <= 12; month++)
            for (int day = 1; day <= days_of(year, month); day++, count++)
                dates[count] =
                    (date){(uint16_t)year, (uint8_t)month, (uint8_t)day, (uint8_t)(count % 7)};
}

static const char *ordinal(int day)
{
    static const char *const endings[] = {"th", "st", "nd", "rd"};
    return day % 10 > 3 || day / 10 == 1 ? endings[0] : endings[day % 10];
}

/* Appends to a text of `length` characters; its new length. */
static int append(char *text, int length, const date *of, char part)
{
    char *to = text + length;
    const size_t size = (size_t)(DATE_LENGTH + 1 - length);
    switch (part) {
    case 'D':
        return length + snprintf(to, size, "%d", of->day);
    case 'O':
        return length + snprintf(to, size, "%d%s", of->day, ordinal(of->day));
    case 'M':
        return length + snprintf(to, size, "%s", months[of->month - 1]);
    case 'S':
        return length + snprintf(to, size, "%.3s", months[of->month - 1]);
    case 'W':
        return length + snprintf(to, size, "%s", weekdays[of->weekday]);
    case 'Y':
        return length + snprintf(to, size, "%d", of->year);
    default:
        return length + snprintf(to, size, "%c", part);
    }
}

int date_in_style(const date *of, int style, char text[DATE_LENGTH + 1])
{
    int length = 0;
    for (const char *part = styles[style]; *part; part++)
        length = append(text, length, of, *part);
    return length;
}

void date_written(const date *of, char text[DATE_WRITTEN + 1])
{
    /* the remainders tell the compiler that it fits */
    snprintf(text, DATE_WRITTEN + 1, "%04u-%02u-%02u", of->year % 10000u, of->month % 100u,
             of->day % 100u);
}

int date_symbols(void)
{
    return (int)sizeof alphabet;
}

int32_t date_symbol(char character)
{
    return 1 + (int32_t)(strchr(alphabet, character) - alphabet);
}

int32_t date_out_symbol(char character)
{
    return (int32_t)(strchr(out_alphabet, character) - out_alphabet);
}

char date_out_character(int32_t symbol)
{
    return out_alphabet[symbol];
}
