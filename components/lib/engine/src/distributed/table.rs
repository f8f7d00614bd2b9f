use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, internal_err};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use table_store::TimeRange;

use crate::bounds::time_range;
use crate::distributed::agents::Agents;
use crate::distributed::leaf::{AgentScan, Asked};

/// A table whose rows lie with the agents.
#[derive(Debug)]
pub(crate) struct AgentTable {
    name: String,
    schema: SchemaRef,
    /// None until the plan is where it runs.
    agents: Option<Agents>,
}

impl AgentTable {
    pub(crate) fn unbound(name: String, schema: SchemaRef) -> Self {
        Self { name, schema, agents: None }
    }

    pub(crate) fn bound(name: String, schema: SchemaRef, agents: Agents) -> Self {
        Self { name, schema, agents: Some(agents) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

#[async_trait]
impl TableProvider for AgentTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// All of them, so that limits reach the leaf too.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(agents) = &self.agents else { return internal_err!("table {} is not bound to agents", self.name) };
        if agents.is_empty() {
            let schema = projection.map(|columns| self.schema.project(columns)).transpose()?.map_or_else(|| self.schema(), Arc::new);
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let columns = DFSchema::try_from(Arc::clone(&self.schema))?;
        let (mut times, mut others) = (TimeRange::ALL, Vec::new());
        for filter in filters {
            match time_range(filter) {
                Some(range) => times = times.intersect(range),
                None => others.push(state.create_physical_expr(filter.clone(), &columns)?),
            }
        }
        let asked = Asked {
            table: self.name.clone(),
            schema: Arc::clone(&self.schema),
            projection: projection.cloned(),
            filters: others,
            times,
            rows_max: limit,
        };
        Ok(Arc::new(AgentScan::of_all(asked, Arc::clone(agents))?))
    }
}
