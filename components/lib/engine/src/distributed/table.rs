use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, internal_err};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::utils::conjunction;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExecBuilder;
use table_store::TimeRange;

use crate::bounded::Bounded;
use crate::bounds::time_range;
use crate::distributed::agents::Agents;
use crate::distributed::leaf::{AgentScan, Asked};
use crate::distributed::places::Places;
use crate::streaming::Streaming;

/// Where a plan runs.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) agents: Agents,
    pub(crate) places: Arc<Places>,
}

/// A table whose rows lie with the agents.
#[derive(Debug)]
pub(crate) struct AgentTable {
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    /// None until the plan is where it runs.
    pub(crate) bound: Option<Bound>,
}

impl AgentTable {
    pub(crate) fn unbound(name: String, schema: SchemaRef) -> Self {
        Self { name, schema, bound: None }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn projected(&self, projection: Option<&Vec<usize>>) -> Result<SchemaRef> {
        Ok(projection.map(|columns| self.schema.project(columns)).transpose()?.map_or_else(|| Arc::clone(&self.schema), Arc::new))
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
        let Some(Bound { agents, places }) = &self.bound else { return internal_err!("table {} is not bound to agents", self.name) };
        if agents.is_empty() {
            return Ok(Arc::new(EmptyExec::new(self.projected(projection)?)));
        }
        let columns = DFSchema::try_from(Arc::clone(&self.schema))?;
        let (mut times, mut on_agents, mut on_coordinator) = (TimeRange::ALL, Vec::new(), Vec::new());
        for filter in filters {
            if let Some(range) = time_range(filter) {
                times = times.intersect(range);
                continue;
            }
            let filter = state.create_physical_expr(filter.clone(), &columns)?;
            if places.needs_coordinator(&filter)? { on_coordinator.push(filter) } else { on_agents.push(filter) }
        }
        let streaming = state.config().get_extension::<Streaming>().is_some();
        let asked = Asked {
            table: self.name.clone(),
            schema: Arc::clone(&self.schema),
            bounded: Bounded::new(projection.map(Vec::as_slice), times, limit),
            filters: on_agents,
            streaming,
        };
        if on_coordinator.is_empty() {
            return Ok(Arc::new(AgentScan::of_all(asked, Arc::clone(agents))?));
        }
        // The limit is of what those filters leave.
        let scan = AgentScan::of_all(Asked { bounded: Bounded::new(None, times, None), ..asked }, Arc::clone(agents))?;
        let filter = FilterExecBuilder::new(conjunction(on_coordinator), Arc::new(scan));
        let filter = filter.apply_projection(projection.cloned())?.with_batch_size(state.config().batch_size());
        Ok(Arc::new(filter.build()?))
    }
}
