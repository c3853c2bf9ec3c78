//! The settings of topics.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::api::Api;
use crate::client::Client;
use crate::error::{About, Error};

const TOPIC: i8 = 2;

impl Client {
    /// The value of a topic's setting, such as `cleanup.policy`: its own or the broker's default; none where the broker knows no
    /// such setting.
    ///
    /// # Errors
    /// [`code`](Error::code) is `TopicAuthorizationFailed` where this user lacks the right `DescribeConfigs`.
    pub async fn topic_setting(&self, topic: &str, setting: &str) -> Result<Option<String>, Error> {
        let (broker, answer) = self.ask_anyone(|_| request(topic, setting)).await?;
        value(&answer, setting).map_err(|code| {
            let about = About { topic: Some(topic.into()), partition: None };
            Error::Refused { broker, api: Api::DescribeConfigs, about, code }
        })
    }
}

pub(crate) fn request(topic: &str, setting: &str) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_string(topic.to_owned()))
        .with_configuration_keys(Some(vec![StrBytes::from_string(setting.to_owned())]));
    DescribeConfigsRequest::default().with_resources(vec![resource])
}

fn value(answer: &DescribeConfigsResponse, setting: &str) -> Result<Option<String>, ResponseError> {
    let mut results = answer.results.iter();
    let refused = results.find_map(|result| ResponseError::try_from_code(result.error_code));
    if let Some(code) = refused {
        return Err(code);
    }
    let mut settings = answer.results.iter().flat_map(|result| &result.configs);
    let found = settings.find(|found| found.name.as_str() == setting);
    Ok(found.and_then(|found| Some(found.value.as_ref()?.to_string())))
}
