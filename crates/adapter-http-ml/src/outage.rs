//! What an outage of the model looks like from here.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::Settings;
use crate::endpoint::Endpoint;

/// The longest pause that the model may ask for.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The pause that the model requested, in seconds or until a date; at most five minutes, none after a date that has
/// passed. `None` as well when it is neither.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pause = if is_number {
        text.parse().map_or(LONGEST_PAUSE, Duration::from_secs)
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(pause.min(LONGEST_PAUSE))
}

/// Why there is no answer. Holds of the URL at most the host, and nothing that the model sent.
pub(crate) fn cause(error: &reqwest::Error, settings: &Settings, endpoint: &Endpoint) -> String {
    if error.is_timeout() {
        return if error.is_connect() {
            format!("no connection within {}", seconds(settings.connect_timeout))
        } else {
            format!("no answer within {}", seconds(settings.answer_timeout))
        };
    }
    let root = root(error);
    match root.downcast_ref::<io::Error>().map(io::Error::kind) {
        _ if error.is_dns() => {
            format!("the host name {} cannot be resolved: {root}", endpoint.host())
        }
        Some(kind @ (io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)) => {
            kind.to_string()
        }
        // Hyper and rustls say what is wrong with a message without quoting it.
        _ => format!("no complete answer: {root}"),
    }
}

fn root<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{duration:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const NOW: u64 = 784_111_777;

    #[track_caller]
    fn check(header: &str, seconds: Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, header.parse().unwrap());
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{header}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_five_minutes() {
        check("0", Some(0));
        check(" 7 ", Some(7));
        check("300", Some(300));
        check("301", Some(300));
        check("99999999999999999999999", Some(300));
        check("Sun, 06 Nov 1994 08:49:50 GMT", Some(13));
        check("Sunday, 06-Nov-94 08:49:50 GMT", Some(13));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(0));
        check("Sun, 06 Nov 1994 08:49:30 GMT", Some(0));
        check("Mon, 07 Nov 1994 08:49:37 GMT", Some(300));
        for neither in ["", "soon", "-1", "1.5", "7 s", "1994-11-06T08:49:50Z"] {
            check(neither, None);
        }
        assert_eq!(retry_after(&HeaderMap::new(), SystemTime::now()), None);
    }

    #[test]
    fn durations_are_shown_in_seconds() {
        assert_eq!(seconds(Duration::from_secs(5)), "5 s");
        assert_eq!(seconds(Duration::from_millis(250)), "250ms");
    }
}
