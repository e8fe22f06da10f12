//! Dates as tables write them: ISO, American, European, with the month as a word.

use jiff::civil::Date;

/// Days of a mean year.
pub(crate) const DAYS_PER_YEAR: f64 = 365.25;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// Reads `2015-08-14`, `2015-08-14T09:00:00`, `2006-04-18_08_20_30.0`, `20150814`, `8/14/2015`, `14.08.2015` and
/// `14-Aug-2015`. With slashes the month comes first, as the American data archives write it, unless only the day can
/// be that large.
pub(crate) fn parse_date(text: &str) -> Option<Date> {
    let text = text.trim();
    let day = text.split([' ', 'T', '_']).next()?;
    if let Some([year, month, day]) = parts(day, '-') {
        return match month_by_name(month) {
            Some(month) => date(day, month, year).or_else(|| date(year, month, day)),
            None => date(year, month.parse().ok()?, day).filter(|_| year.len() == 4),
        };
    }
    if let Some([first, second, year]) = parts(day, '/') {
        let (first, second): (i8, i8) = (first.parse().ok()?, second.parse().ok()?);
        let (month, day) = if first > 12 {
            (second, first)
        } else {
            (first, second)
        };
        return date(year, month, &day.to_string()).filter(|_| year.len() == 4);
    }
    if let Some([day, month, year]) = parts(day, '.') {
        return date(year, month.parse().ok()?, day).filter(|_| year.len() == 4);
    }
    let is_compact = day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit());
    if !is_compact {
        return None;
    }
    date(day.get(..4)?, day.get(4..6)?.parse().ok()?, day.get(6..)?)
}

/// `5` or `May`.
pub(crate) fn parse_month(text: &str) -> Option<i8> {
    month_by_name(text).or_else(|| {
        text.trim()
            .parse()
            .ok()
            .filter(|month| (1..=12).contains(month))
    })
}

/// Years from one day to another, to a ten-thousandth, which is less than an hour.
pub(crate) fn years_between(from: Date, to: Date) -> Option<f64> {
    let days = f64::from(to.since(from).ok()?.get_days());
    Some((days / DAYS_PER_YEAR * 1e4).round() / 1e4)
}

fn parts(text: &str, separator: char) -> Option<[&str; 3]> {
    let parts: Vec<_> = text.split(separator).collect();
    parts.try_into().ok()
}

fn month_by_name(text: &str) -> Option<i8> {
    let lower = text.trim().to_lowercase();
    let position = MONTHS.iter().position(|name| lower.starts_with(name))?;
    Some(position as i8 + 1)
}

fn date(year: &str, month: i8, day: &str) -> Option<Date> {
    Date::new(year.parse().ok()?, month, day.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_day_is_read_from_every_spelling() {
        let expected = Date::constant(2015, 8, 14);
        for text in [
            "2015-08-14",
            "2015-8-14",
            " 2015-08-14T09:30:00",
            "2015-08-14 09:30:00",
            "2015-08-14_08_20_30.0",
            "20150814",
            "8/14/2015",
            "08/14/2015",
            "14/8/2015",
            "14.08.2015",
            "14-Aug-2015",
            "2015-Aug-14",
        ] {
            assert_eq!(parse_date(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_day_is_none() {
        for text in [
            "",
            "2015",
            "2015-13-01",
            "2/30/2015",
            "8/14/15",
            "14-08-15",
            "1-2-3-4",
            "x",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,24}", digits in "[0-9/._T-]{0,14}") {
            parse_date(&text);
            parse_date(&digits);
            parse_month(&text);
        }
    }
}
