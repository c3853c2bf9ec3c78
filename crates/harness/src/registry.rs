//! The real schema registry, Apicurio by its Confluent API, started natively by `infra/native/registry.sh`.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::background::{background, blocking};
use crate::service::{Script, Service, WIPE_IDLE, shared_folder};

const SCRIPT: Script = Script {
    name: "registry.sh",
    cleared: &["REGISTRY_HEAP", "REGISTRY_MANAGEMENT_PORT", "REGISTRY_VERSION"],
};
const DEADLINE: Duration = Duration::from_secs(20);

/// A registry. Unlike Confluent's it checks no compatibility unless told to (`PUT /config`).
pub struct Registry {
    url: String,
    _service: Service,
}

impl Registry {
    /// The registry of all test processes of this user in this checkout: nobody may stop or freeze it, and subjects
    /// need unique names. Panics, saying what to install, where it cannot be started.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<Registry> = OnceLock::new();
        blocking(|| SHARED.get_or_init(Self::start)).await
    }

    fn start() -> Self {
        let settings = vec![
            ("REGISTRY_PORT", "0".to_owned()),
            ("REGISTRY_WIPE_IDLE", WIPE_IDLE.as_secs().to_string()),
        ];
        let service = Service::start(SCRIPT, shared_folder("registry"), settings);
        Self { url: service.run(&["url"]), _service: service }
    }

    /// For clients, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Registers an Avro schema as the subject's next version and returns its id; the same schema again has the same
    /// id.
    pub async fn register(&self, subject: &str, schema: &str) -> u32 {
        self.register_as(subject, &json!({ "schema": schema })).await
    }

    /// The same with a JSON Schema.
    pub async fn register_json(&self, subject: &str, schema: &str) -> u32 {
        self.register_as(subject, &json!({ "schemaType": "JSON", "schema": schema })).await
    }

    async fn register_as(&self, subject: &str, registration: &Value) -> u32 {
        // Where all of the workspace is built, reqwest has TLS without a provider; an earlier one may stay.
        let _is_there = rustls::crypto::ring::default_provider().install_default();
        // A developer's HTTP proxy knows nothing of this machine.
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client
            .post(format!("{}/subjects/{subject}/versions", self.url))
            .timeout(DEADLINE)
            .header("content-type", "application/vnd.schemaregistry.v1+json")
            .body(registration.to_string());
        let (status, answer) = background(async move {
            let response = request.send().await.expect("the registry answers");
            (response.status(), response.text().await.expect("an answer"))
        })
        .await;
        assert!(status.is_success(), "{subject} was refused: {status} {answer}");
        let answer: Value = serde_json::from_str(&answer).expect("an answer in JSON");
        answer["id"].as_u64().and_then(|id| u32::try_from(id).ok()).expect("an id")
    }
}
