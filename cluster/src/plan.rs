//! The physical plan of a job: [`MapPartitionsExec`] runs each chunk, and its codec carries it to the executors.
//!
//! ```text
//! SortPreservingMergeExec by __chunk       second stage: its output is one partition, in chunk order
//!   MapPartitionsExec                      first stage: one task a chunk
//!     DataSourceExec                       one partition a chunk, with one row: (__chunk, payload)
//! ```
//!
//! Three properties keep rows from being lost, repeated or misordered:
//!
//! - The node is no leaf. The scheduler gives each task a slice of the leaves that it knows, and would run a leaf of
//!   ours as a whole in each task.
//! - There is a second stage. Outputs of a first stage on an executor that was lost are made again; those of a last
//!   stage are not.
//! - Each row carries the number of its chunk, as results come in the order of completion.

use std::fmt;
use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::arrow::array::{Array, Int32Array, LargeBinaryArray, RecordBatch};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, SendableRecordBatchStream,
};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use futures_util::{StreamExt, TryStreamExt};

use crate::engine::Cancelled;
use crate::executor::answer_request;

/// The tag of Ballista's own nodes in an encoded plan.
const OF_BALLISTA: u8 = 0;
/// The tag of [`MapPartitionsExec`].
const MAP_PARTITIONS: u8 = 1;

/// The columns of requests and replies: the number of the chunk, and an encoded message.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("__chunk", DataType::Int32, false),
        Field::new("payload", DataType::LargeBinary, false),
    ]))
}

/// A batch of one row.
fn batch(chunk: i32, payload: &[u8]) -> Result<RecordBatch> {
    let columns: Vec<Arc<dyn Array>> =
        vec![Arc::new(Int32Array::from(vec![chunk])), Arc::new(LargeBinaryArray::from_vec(vec![payload]))];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// The rows of a batch of requests or replies.
pub(crate) fn rows(batch: &RecordBatch) -> Result<Vec<(i32, &[u8])>> {
    let chunks = batch.column(0).as_any().downcast_ref::<Int32Array>();
    let payloads = batch.column(1).as_any().downcast_ref::<LargeBinaryArray>();
    let (Some(chunks), Some(payloads)) = (chunks, payloads) else {
        return Err(DataFusionError::Internal("a batch of requests has other columns".into()));
    };
    Ok((0..batch.num_rows()).map(|row| (chunks.value(row), payloads.value(row))).collect())
}

/// The plan of a job with these encoded requests.
pub(crate) fn job(requests: &[Vec<u8>]) -> Result<Arc<dyn ExecutionPlan>> {
    let partitions = requests.iter().enumerate().map(|(chunk, request)| {
        let chunk = i32::try_from(chunk).map_err(|_| DataFusionError::Internal("a job has too many chunks".into()))?;
        Ok(vec![batch(chunk, request)?])
    });
    let source = MemorySourceConfig::try_new_exec(&partitions.collect::<Result<Vec<_>>>()?, schema(), None)?;
    let map = Arc::new(MapPartitionsExec::new(source));
    Ok(Arc::new(SortPreservingMergeExec::new(by_chunk(), map)))
}

fn by_chunk() -> LexOrdering {
    let key = PhysicalSortExpr::new(Arc::new(Column::new("__chunk", 0)), SortOptions::default());
    [key].into()
}

/// Runs the request in each row of a partition, and returns the replies.
#[derive(Debug)]
pub(crate) struct MapPartitionsExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl MapPartitionsExec {
    fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        // A partition has one row, so it is ordered.
        let ordered = EquivalenceProperties::new_with_orderings(schema(), [by_chunk()]);
        let partitioning = input.output_partitioning().clone();
        let properties = PlanProperties::new(ordered, partitioning, EmissionType::Incremental, Boundedness::Bounded);
        Self { input, properties: Arc::new(properties) }
    }
}

impl DisplayAs for MapPartitionsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MapPartitionsExec")
    }
}

impl ExecutionPlan for MapPartitionsExec {
    fn name(&self) -> &'static str {
        "MapPartitionsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.pop()) {
            (Some(input), None) => Ok(Arc::new(Self::new(input))),
            _ => Err(DataFusionError::Internal("MapPartitionsExec has one child".into())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let cancelled = Cancelled::of(&context);
        let input = self.input.execute(partition, context)?;
        let replies = input
            .map(|requests| {
                let requests: RecordBatch = requests?;
                let rows = rows(&requests)?.into_iter().map(|(chunk, request)| Ok((chunk, request.to_vec())));
                Ok::<Vec<Result<(i32, Vec<u8>)>>, DataFusionError>(rows.collect())
            })
            .map_ok(futures_util::stream::iter)
            .try_flatten()
            .and_then(move |(chunk, request): (i32, Vec<u8>)| {
                let cancelled = cancelled.clone();
                async move { batch(chunk, &answer_request(request, cancelled).await) }
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema(), replies)))
    }
}

/// Encodes [`MapPartitionsExec`], and leaves all other nodes to Ballista's codec.
#[derive(Debug, Default)]
pub(crate) struct Codec(BallistaPhysicalExtensionCodec);

impl PhysicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (bytes.split_first(), inputs) {
            (Some((&OF_BALLISTA, rest)), _) => self.0.try_decode(rest, inputs, context, converter),
            (Some((&MAP_PARTITIONS, _)), [input]) => Ok(Arc::new(MapPartitionsExec::new(Arc::clone(input)))),
            _ => Err(DataFusionError::Execution(
                "a plan has a node that this program does not know: all parts of a cluster must be the same build"
                    .into(),
            )),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if node.is::<MapPartitionsExec>() {
            bytes.push(MAP_PARTITIONS);
            return Ok(());
        }
        bytes.push(OF_BALLISTA);
        self.0.try_encode(node, bytes, converter)
    }
}
