//! The model's URL, and how it may be shown.

use std::fmt;

use reqwest::Url;
use tally_ports::{Stop, StopKind};

/// The model's URL. Its `Display` and `Debug` show the base without user, password and query.
pub(crate) struct Endpoint {
    url: Url,
    shown: String,
}

impl Endpoint {
    /// The endpoint `path` below the base `url`.
    ///
    /// The messages do not quote a URL that cannot be parsed: it may hold a password anywhere.
    pub(crate) fn new(url: &str, path: &str) -> Result<Self, Stop> {
        let wrong = |fault: &str| Stop {
            kind: StopKind::Setting,
            message: format!(
                "the model's URL (ML_API_URL) is not like http://127.0.0.1:8000: {fault}"
            ),
        };
        let base = Url::parse(url.trim()).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("it starts neither with http:// nor with https://"));
        }

        let mut url = base;
        url.set_fragment(None);
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/{path}"));

        let shown = format!("{}{prefix}", url.origin().ascii_serialization());
        Ok(Self { url, shown })
    }

    /// Where to post; with user, password and query, so not to be shown.
    pub(crate) fn url(&self) -> Url {
        self.url.clone()
    }

    /// Whether it names a user, who is sent as basic authentication.
    pub(crate) fn has_user(&self) -> bool {
        !self.url.username().is_empty() || self.url.password().is_some()
    }

    /// Its host, without the port.
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Whether the connection needs TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }
}

/// A URL without user, password and query.
pub(crate) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, predict: &str, shown: &str) {
        let endpoint = Endpoint::new(url, "predict").unwrap();
        assert_eq!(endpoint.url().as_str(), predict);
        assert_eq!(endpoint.to_string(), shown);
        assert_eq!(format!("{endpoint:?}"), shown);
    }

    #[test]
    fn predict_is_appended_and_secrets_are_not_shown() {
        check("http://127.0.0.1:8000", "http://127.0.0.1:8000/predict", "http://127.0.0.1:8000");
        check(
            " http://127.0.0.1:8000/\n",
            "http://127.0.0.1:8000/predict",
            "http://127.0.0.1:8000",
        );
        check(
            "https://ml.test/v2/model/",
            "https://ml.test/v2/model/predict",
            "https://ml.test/v2/model",
        );
        check("http://[::1]:8000/v1", "http://[::1]:8000/v1/predict", "http://[::1]:8000/v1");
        check(
            "http://anna:s3cret@ml.test:80/v1?key=s3cret#s3cret",
            "http://anna:s3cret@ml.test/v1/predict?key=s3cret",
            "http://ml.test/v1",
        );
    }

    #[test]
    fn what_is_no_url_is_a_wrong_setting_and_not_quoted() {
        for url in [
            "",
            "s3cret",
            "/s3cret",
            "anna:s3cret@127.0.0.1:8000",
            "ftp://anna:s3cret@127.0.0.1",
            "http://",
            "http://anna:s3cret@127.0.0.1:eight",
            "http://anna:s3cret@",
        ] {
            let stop = Endpoint::new(url, "predict").unwrap_err();
            assert_eq!(stop.kind, StopKind::Setting, "{url}");
            assert!(stop.message.contains("ML_API_URL"), "{url}: {stop}");
            assert!(
                !stop.message.contains("s3cret") && !stop.message.contains("anna"),
                "{url}: {stop}"
            );
        }
    }
}
