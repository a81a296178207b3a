"""The public names of every module of Celery that applications import."""

import importlib
import warnings

from record import say

POOLS = ()
NAMES = {
    "celery": "Celery shared_task Task current_app current_task signature maybe_signature Signature subtask chain group"
    " chord chunks xmap xstarmap uuid bugreport VERSION version_info __version__",
    "celery.app": "Celery app_or_default default_app bugreport shared_task disable_trace enable_trace push_current_task"
    " pop_current_task",
    "celery.app.base": "Celery PendingConfiguration BUILTIN_FIXUPS gen_task_name",
    "celery.app.task": "Task Context TaskType",
    "celery.app.control": "Control Inspect flatten_reply",
    "celery.app.log": "Logging TaskFormatter",
    "celery.app.defaults": "DEFAULTS NAMESPACES Option find flatten",
    "celery.app.trace": "build_tracer task_has_custom LOG_RECEIVED LOG_SUCCESS LOG_FAILURE LOG_INTERNAL_ERROR"
    " LOG_IGNORED LOG_REJECTED LOG_RETRY TraceInfo trace_task setup_worker_optimizations reset_worker_optimizations",
    "celery.app.registry": "TaskRegistry",
    "celery.app.utils": "Settings appstr bugreport find_app",
    "celery.app.amqp": "AMQP Queues task_message",
    "celery.app.routes": "MapRoute Router prepare",
    "celery.app.annotations": "MapAnnotation prepare resolve_all",
    "celery.app.backends": "by_name by_url",
    "celery.app.autoretry": "add_autoretry_behaviour",
    "celery.apps.worker": "Worker safe_say",
    "celery.backends.base": "Backend BaseBackend KeyValueStoreBackend DisabledBackend BaseDictBackend",
    "celery.backends.redis": "RedisBackend",
    "celery.beat": "Scheduler PersistentScheduler ScheduleEntry Service EmbeddedService BeatLazyFunc",
    "celery.bin.celery": "celery main",
    "celery.bin.base": "CeleryCommand CeleryOption CLIContext",
    "celery.bin.worker": "worker",
    "celery.bootsteps": "Blueprint Step StartStopStep ConsumerStep RUN CLOSE TERMINATE",
    "celery.canvas": "Signature chain group chord chunks xmap xstarmap signature maybe_signature subtask",
    "celery.concurrency": "get_implementation get_available_pool_names",
    "celery.contrib.abortable": "AbortableTask AbortableAsyncResult ABORTED",
    "celery.contrib.testing.worker": "start_worker TestWorkController setup_app_for_worker",
    "celery.contrib.testing.app": "TestApp setup_default_app",
    "celery.events": "Event EventDispatcher EventReceiver event_exchange",
    "celery.events.state": "State Task Worker",
    "celery.exceptions": "CeleryError CeleryWarning TaskPredicate Retry RetryTaskError Ignore Reject TaskError"
    " QueueNotFound IncompleteStream MaxRetriesExceededError TaskRevokedError NotRegistered AlreadyRegistered"
    " TimeoutError InvalidTaskError ChordError BackendError BackendGetMetaError BackendStoreError SecurityError"
    " ImproperlyConfigured OperationalError SoftTimeLimitExceeded TimeLimitExceeded WorkerLostError Terminated"
    " WorkerShutdown WorkerTerminate AlwaysEagerIgnored DuplicateNodenameWarning FixupWarning NotConfigured"
    " SecurityWarning CPendingDeprecationWarning CDeprecationWarning CeleryCommandException",
    "celery.loaders.base": "BaseLoader",
    "celery.local": "Proxy PromiseProxy maybe_evaluate try_import",
    "celery.platforms": "signals create_pidlock detached EX_OK EX_FAILURE EX_UNAVAILABLE EX_USAGE",
    "celery.result": "AsyncResult ResultBase ResultSet GroupResult EagerResult allow_join_result denied_join_result"
    " assert_will_not_block result_from_tuple task_join_will_block",
    "celery.schedules": "crontab schedule solar BaseSchedule crontab_parser schedstate maybe_schedule ParseException",
    "celery.signals": "task_prerun task_internal_error heartbeat_sent celeryd_init celeryd_after_setup",
    "celery.states": "PENDING RECEIVED STARTED SUCCESS FAILURE REVOKED RETRY IGNORED REJECTED READY_STATES"
    " UNREADY_STATES EXCEPTION_STATES PROPAGATE_STATES ALL_STATES precedence PRECEDENCE PRECEDENCE_LOOKUP state"
    " NONE_PRECEDENCE",
    "celery.utils": "uuid cached_property gen_task_name gen_unique_id import_from_cwd instantiate nodename nodesplit"
    " worker_direct chunks",
    "celery.utils.log": "get_task_logger get_logger task_logger base_logger ColorFormatter LoggingProxy",
    "celery.utils.time": "timezone maybe_timedelta maybe_iso8601 maybe_make_aware make_aware to_utc localize remaining"
    " get_exponential_backoff_interval humanize_seconds ffwd adjust_timestamp utcoffset rate weekday delta_resolution",
    "celery.utils.nodenames": "nodename nodesplit default_nodename host_format node_format anon_nodename worker_direct",
    "celery.utils.serialization": "UnpickleableExceptionWrapper get_pickleable_exception ensure_serializable"
    " raise_with_context create_exception_cls",
    "celery.utils.imports": "symbol_by_name instantiate import_from_cwd qualname gen_task_name",
    "celery.utils.functional": "LRUCache maybe_list chunks noop first is_list memoize mlazy padlist regen uniq",
    "celery.utils.dispatch": "Signal",
    "celery.utils.threads": "LocalStack Local",
    "celery.utils.text": "indent truncate abbr pretty str_to_list",
    "celery.worker": "WorkController",
    "celery.worker.control": "Panel control_command inspect_command",
    "celery.worker.request": "Request Context",
    "celery.worker.consumer": "Consumer",
    "celery.worker.state": "revoked requests",
}


def main():
    for module_name, names in NAMES.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = importlib.import_module(module_name)
        except Exception as error:
            say(module_name, error)
            continue
        say(module_name, "is there")
        for name in names.split():
            say(f"{module_name}.{name}", told(module, name))


def told(module, name):
    """A name is there, or there is a sentence why it is not."""
    try:
        found = getattr(module, name)
    except NotImplementedError:
        return "comes later, and says so"
    except (AttributeError, ImportError) as error:
        return f"absent: {type(error).__name__}"
    return "comes later, and says so" if type(found).__name__ == "StandIn" else "is there"
