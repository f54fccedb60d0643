"""Times, dates and lengths of a text."""

from __future__ import annotations

# kind -> (text, gold answer) that say the same
RIGHT = {
    "times in words": [
        ("Final Answer: half past three", "3:30"),
        ("Final Answer: quarter to four", "3:45"),
        ("Final Answer: 5 past 3 p.m.", "15:05"),
        ("Final Answer: 1500 hours", "3:00 PM"),
        ("Final Answer: 6:00 PM (18:00)", "18:00"),
        ("Final Answer: noon (12:00 PM)", "12:00"),
        ("Final Answer: one hour and thirty minutes", "90 minutes"),
        ("Final Answer: 5'6\"", "5 feet 6 inches"),
        ("Final Answer: a 3-hour trip", "3"),
        ("Final Answer: 53-yard", "53 yards"),
    ],
    "times and lengths in short": [
        ("Final Answer: 1h 30m", "1 hour 30 minutes"),
        ("Final Answer: 1h30m", "1 hour 30 minutes"),
        ("Final Answer: 1 hr. 30 min.", "1 hour 30 minutes"),
        ("Final Answer: 1h 30m", "90 minutes"),
        ("Final Answer: 5 ft 6 in", "5 feet 6 inches"),
        ("Final Answer: 3小时30分钟", "3 hours 30 minutes"),
        ("Final Answer: Jan 2000", "January 2000"),
        ("Final Answer: 15h45", "3:45 PM"),
    ],
    "remarks on a time": [
        ("Final Answer: 4:45 PM (local time)", "4:45 PM"),
        ("Final Answer: 4:45 PM, which is late", "16:45"),
        ("Final Answer: 10:20 (AM)", "10:20 AM"),
        ("Final Answer: 15 Uhr", "15:00"),
        ("Final Answer: two hours thirty minutes", "2 hours 30 minutes"),
        ("Final Answer: 2 hours & 30 minutes", "150 minutes"),
    ],
    "dates and their names": [
        ("Final Answer: 5. März 2024", "2024-03-05"),
        ("Final Answer: 5 mars 2024", "March 5, 2024"),
        ("Final Answer: 5 de marzo de 2024", "2024-03-05"),
        ("Final Answer: March 2024", "2024-03"),
        ("Final Answer: 03/2024", "March 2024"),
        ("Final Answer: It was on March 5, 2024.", "2024-03-05"),
        ("Final Answer: March 5, 2024 (a Tuesday)", "2024-03-05"),
        ("Final Answer: March 5, 2024 (2024-03-05)", "2024-03-05"),
        ("Final Answer: on Tuesday", "Tue"),
        ("Final Answer: Tuesday, March 5", "March 5"),  # of a year that is not given
        ("Final Answer: 29 February", "Feb 29"),
        ("Final Answer: 2/4000", "1/2000"),  # fractions, and no months
        ("Final Answer: January", "Jan"),
        ("Final Answer: In 1969", "1969"),
        ("Final Answer: 79 AD", "79"),
        ("Final Answer: 79 BCE", "79 BC"),
        ("Final Answer: the 5th", "5"),
    ],
}
# and that do not
WRONG = {
    "times in words": [
        ("Final Answer: half past three", "3:45"),
        ("Final Answer: quarter to four", "4:15"),
        ("Final Answer: half to four", "3:30"),
        ("Final Answer: quarter to 12 am", "11:45 AM"),
        ("Final Answer: 1500 hours", "3:00 AM"),
        ("Final Answer: 6:00 PM (19:00)", "6:00 PM"),
        ("Final Answer: 6:00 (18:00)", "18:00"),
        ("Final Answer: 5'6\"", "5 feet 7 inches"),
        ("Final Answer: 3-digit", "3"),
        ("Final Answer: 10-year-old", "10"),
        ("Final Answer: 53-yard", "53 feet"),
    ],
    "times and lengths in short": [
        ("Final Answer: 1h 30m", "1 hour 20 minutes"),
        ("Final Answer: 1h 30m", "1.30 hours"),
        ("Final Answer: 5 ft 6 in", "5 feet 7 inches"),
        ("Final Answer: 5 ft 6 in", "56"),
        ("Final Answer: Jan 2000", "June 2000"),
        ("Final Answer: Jan 2000", "January 2001"),
        ("Final Answer: 15h45", "3:45 AM"),
        ("Final Answer: 3小时30分钟", "3 hours 20 minutes"),
    ],
    "remarks on a time": [
        ("Final Answer: 4:45 (AM)", "4:45 PM"),
        ("Final Answer: 4:45, in the morning", "4:45 PM"),
        ("Final Answer: 4:45 PM (the next day)", "4:45 PM"),
        ("Final Answer: 4:45 PM (not 5:45)", "4:45 PM (5:45)"),
        ("Final Answer: 2 hours thirty minutes", "2 hours 20 minutes"),
    ],
    "dates and their names": [
        ("Final Answer: 5. März 2024", "2024-05-03"),
        ("Final Answer: Mai", "March"),
        ("Final Answer: 03/2024", "2024-04"),
        ("Final Answer: It was not on March 5, 2024", "2024-03-05"),
        ("Final Answer: 29 February 2023", "2023-02-28"),
        ("Final Answer: 2 hours 3 hours", "5 hours"),
        ("Final Answer: March 5, 2024 (a Wednesday)", "2024-03-05"),
        ("Final Answer: March 5, 2024 (2024-03-06)", "2024-03-05"),
        ("Final Answer: Tuesday", "Wed"),
        ("Final Answer: 1969 BC", "1969"),
        ("Final Answer: 1/2000", "2/2000"),
    ],
}
