//! The model, asked about batches.

use std::sync::Arc;

use tally_domain::{Flow, ModelApi, Record};
use tally_ports::{Answers, Enrich, Fault, Stop, StopKind};

use crate::Settings;
use crate::connection::Connection;
use crate::inquiry::Inquiry;
use crate::question::Questions;

/// A flow's model over HTTP. Connections are kept and shared by all calls in flight. Its `Debug` shows no secrets.
#[derive(Debug)]
pub struct Model {
    flow: Arc<dyn Flow>,
    api: Arc<ModelApi>,
    connection: Connection,
    /// Whether a batch may be without any answer.
    of_refused: bool,
}

impl Model {
    /// The model of `flow` as `settings` say. Connects to nothing yet; errs with [`StopKind::Setting`] when they are
    /// wrong, or the flow has none.
    ///
    /// TLS uses the process' default crypto provider, ring where none is installed, and the machine's certificates.
    pub fn new(settings: &Settings, flow: &Arc<dyn Flow>) -> Result<Self, Stop> {
        let no_model = || Stop {
            kind: StopKind::Setting,
            message: format!("the flow {} asks no model", flow.name()),
        };
        let api = Arc::new(flow.model().ok_or_else(no_model)?.clone());
        let tables = flow.tables();
        let id = tables.get(api.table).and_then(|table| table.columns.get(api.id));
        let id_kind = id.ok_or_else(no_model)?.kind;
        let connection = Connection::new(settings, Arc::clone(&api), id_kind)?;
        Ok(Self { flow: Arc::clone(flow), api, connection, of_refused: false })
    }

    /// The same model for records that were refused before, as dead letters are: that it refuses all of a batch again,
    /// or answers for none of it, is then what became of the records, and no outage.
    #[must_use]
    pub fn of_refused(self) -> Self {
        Self { of_refused: true, ..self }
    }
}

impl Enrich for Model {
    type Inquiry = Inquiry;

    fn begin(&self, records: &[&Record]) -> Result<Inquiry, Stop> {
        let questions = Questions::about(&*self.flow, &self.api, records)?;
        Ok(Inquiry::new(Arc::clone(&self.api), questions))
    }

    async fn ask(&self, inquiry: &mut Inquiry) -> Result<Option<Answers>, Fault> {
        let mut has_answer = false;
        while !has_answer && let Some(question) = inquiry.next(self.connection.request_size()) {
            let said = self.connection.ask(&question).await?;
            has_answer = inquiry
                .note(said, self.of_refused)
                .map_err(|what| self.connection.outage(&what))?;
        }
        Ok(inquiry.conclude())
    }
}
