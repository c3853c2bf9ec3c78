//! HTTP to the model.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use tally_ports::{Stop, StopKind};

use crate::endpoint::Endpoint;
use crate::headers::{self, IDEMPOTENCY_KEY};
use crate::inquiry::Question;
use crate::{Settings, outage, tls};

/// Connections that were idle for this long are closed: before the servers close them that do so soonest (uvicorn,
/// after 5 s), for a request sent at that moment is lost.
const IDLE: Duration = Duration::from_secs(4);

/// Two clients of one model.
#[derive(Debug)]
pub(crate) struct Clients {
    /// Keeps its connections.
    pooled: Client,
    /// Has a new one for each request.
    unpooled: Client,
}

impl Clients {
    pub(crate) fn new(settings: &Settings, endpoint: &Endpoint) -> Result<Self, Stop> {
        let headers = headers::from(settings, endpoint)?;
        let client = |idle_connections| {
            tls::equip(Client::builder(), endpoint)?
                .user_agent(concat!("tally/", env!("CARGO_PKG_VERSION")))
                .default_headers(headers.clone())
                .connect_timeout(settings.connect_timeout)
                .timeout(settings.answer_timeout)
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(idle_connections)
                .tcp_nodelay(true)
                .redirect(Policy::none())
                .retry(reqwest::retry::never())
                // A proxy named by the environment would see every record.
                .no_proxy()
                .build()
                .map_err(|error| Stop {
                    kind: StopKind::Setting,
                    message: format!(
                        "cannot set up HTTP to the model at {endpoint}: {}",
                        outage::cause(&error, settings, endpoint)
                    ),
                })
        };
        Ok(Self { pooled: client(usize::MAX)?, unpooled: client(0)? })
    }

    /// Sends the question; at once again, by a new connection, where one that was kept (`may_be_kept`) may have been closed
    /// meanwhile.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        question: &Question<'_>,
        may_be_kept: bool,
    ) -> reqwest::Result<Response> {
        match request(&self.pooled, endpoint, question).send().await {
            Err(error) if may_be_kept && !error.is_timeout() && !error.is_connect() => {
                request(&self.unpooled, endpoint, question).send().await
            }
            result => result,
        }
    }
}

fn request(client: &Client, endpoint: &Endpoint, question: &Question<'_>) -> RequestBuilder {
    client
        .post(endpoint.url())
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json")
        .header(IDEMPOTENCY_KEY, question.key.to_string())
        .body(question.body.clone())
}
