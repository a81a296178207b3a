"""The differences that are meant; each has a sentence here, and its row in the guide for those who come from Celery."""

from __future__ import annotations

from tests.differential.compare import Meant

_DEFAULTS = "defaults of settings"
_WORDS = "words of errors"
_ENCODE = "what cannot be encoded"
_TIMES = "times that are none"
_SOFT = "`soft_time_limit` longer than `time_limit`"
_EAGER = "`self.request` of `apply()`"
_MESSAGE = "`self.request`: `origin`, `reply_to`, AMQP's `properties`"
_NODES = "names of nodes"
_CLASSES = "exceptions of tasks"
_EXTENDED = "name, arguments, worker and retries of a result"
_IGNORED = "ignored tasks"
_RAISED = "`raise Retry()` of a task's own making"
_THROW = "`self.retry(throw=False)`"
_NO_EXC = "`on_retry`, `Retry.exc` and the log, where `self.retry()` gets no `exc`"
_PARENT = "`request.parent_id` of a retry"
_BROKEN = "`on_failure` and `on_retry` that raise"
_LATE = "settings that change after a task was used"
_EINFO = "`einfo`"
_SENDERS = "senders of `task_received` and worker signals"
_KILLED = "`on_failure` of a task whose process was killed"
_TWO = "two entries of one name"
_OTHER_NAMES = "other names of the modules of beat, bootsteps, backends and helpers"
_REPR = "`repr` of applications and tasks"
_LATER = "attributes of `app` that need a broker or `beat`"

_UNBOUND = "attributes of `Task` and of plain tasks that nothing set"
_INTERNAL = "what Celery's own code asks of tasks: `from_config`, `request_stack` and their like"
_PROXIES = "the class of a task"
_UNKNOWN_APPLY = "`apply()` of a task that is not registered"
_ROUTERS = "options that routers and receivers of `before_task_publish` see"
_SETDEFAULT = "`app.conf.setdefault`"
_CONF = "`app.conf` that is assigned, shown or asked whether it was read"
_LOADER = "`--config` and `--loader` of the command line"
_EXIT = "the exit code where the application cannot be imported"
_META = "`app.backend.get_task_meta` of an unknown task"
_OUTSIDE = "`self.request.task` outside of a run"
_UPDATE = "`update_state`"
_ANNOTATE = "`task_annotations`"
_OTHERS = "a task of another application"
_RESULT = "a result that cannot be encoded"
_RUNTIME = "the run time in the log line of a task that succeeds"
_SHORTENED = "a return value in the log that is longer than `resultrepr_maxsize`"
_DISCARDED = "a handler's logger for discarded tasks"
_PRINTS = "prints of tasks with several lines"
_BEFORE_PROCESS = "`worker_before_create_process`"
_PROCESSES = "signals of processes and of setting up the log"
_WAITS = "`task_revoked` of a task that waits"
_GET_INSIDE = "`result.get()` in a task of `gevent`"
_BODY = "the parent and the root of a body"
_BODY_SENT = "`before_task_publish` of a body"
_BODY_FAILED = "`on_failure` and `task_failure` of a body whose header fails"
_BODY_REQUEST = "the request that error callbacks of such a body get"
_CHORD_ERROR = "the task that `ChordError` names, if a chain in the header fails"
_INNER = "a chord in a header that fails"
_CHORD = "`self.request.chord`"
_EAGER_FAILS = "a step of a chain or a task of a header that fails in eager mode"
_EAGER_REPLACE = "`self.replace()` in a task that `delay` runs eagerly"
_OWN_ID = "a replacement that has an id of its own"
_PENDING = "receivers that are connected to a task that is not made yet"


def _alike(program: str, row: str, sentences: dict[str, str]) -> list[Meant]:
    """Entries for settings under both of their names, whose values tell enough where they are set."""
    old = {
        "beat_scheduler": "CELERYBEAT_SCHEDULER",
        "worker_pool": "CELERYD_POOL",
        "task_acks_late": "CELERY_ACKS_LATE",
    }
    old["database_engine_options"] = "CELERY_RESULT_ENGINE_OPTIONS"
    return [
        Meant(program, key, "*", "*", why, row)
        for name, why in sentences.items()
        for key in (name, *((f"old {old[name]}",) if name in old else ()))
    ]


MEANT: tuple[Meant, ...] = (
    Meant("conf", "worker_pool", "'prefork'", "'gevent'", "Most tasks of web applications wait for others.", _DEFAULTS),
    Meant("conf", "task_acks_late", "False", "True", "No task is lost with its worker.", _DEFAULTS),
    Meant(
        "conf", "beat_scheduler", "'celery.beat:PersistentScheduler'", "None", "None is Lavoro's scheduler.", _DEFAULTS
    ),
    Meant("conf", "database_engine_options", "*", "{}", "Lavoro tests its connections itself.", _DEFAULTS),
    *_alike(
        "conf_defaults",
        _DEFAULTS,
        {
            "beat_scheduler": "None is Lavoro's scheduler.",
            "database_engine_options": "Lavoro tests its connections itself.",
            "worker_pool": "Most tasks of web applications wait for others.",
            "task_acks_late": "No task is lost with its worker.",
            "database_url": "It is read from LAVORO_DATABASE_URL.",
        },
    ),
    Meant(
        "conf_defaults", "unknown attribute", "raises Attr*", "raises Attr*", "It says that nothing was set.", _WORDS
    ),
    Meant(
        "names_imports", "*", "'is there'", "'comes later, and says so'", "The name tells what to use.", _OTHER_NAMES
    ),
    Meant("calls_checks", "*", "TypeError(*", "TypeError(*", "The words name the task and the argument.", _WORDS),
    Meant("calls_checks", "queue*", "QueueNotFound(*", "QueueNotFound(*", "It says which setting helps.", _WORDS),
    Meant("calls_checks", "tasks*", "raises NotReg*", "raises NotReg*", "It says which setting helps.", _WORDS),
    Meant("calls_checks", "unencodable", "EncodeError(*", "TypeError(*", "The argument is named.", _ENCODE),
    Meant("calls_checks", "serializer unknown", "Serializer*", "Improperly*", "The known ones are named.", _ENCODE),
    Meant("calls_checks", "*soft over hard", "'AsyncResult'", "ValueError(*", "Such a limit never comes.", _SOFT),
    Meant("calls_checks", "eta nonsense", "'AsyncResult'", "ValueE*", "It is refused at the call.", _TIMES),
    Meant("calls_checks", "eta number", "AttributeE*", "TypeE*", "It is refused at the call.", _TIMES),
    Meant("calls_checks", "expires nonsense", "ValueE*", "ValueE*", "The words are those for any time.", _TIMES),
    Meant("calls_checks", "expires timedelta", "TypeError(*", "'AsyncResult'", "A duration is a time, too.", _TIMES),
    Meant("calls_checks", "countdown text", "TypeError(*", "'AsyncResult'", "Numbers may be text.", _TIMES),
    Meant("serializers", "*", "'EncodeError'", "'*Error'", "There is no kombu whose class it could be.", _ENCODE),
    Meant("eager_always", "value.*", "raises EncodeError(*", "raises TypeError(*", "The argument is named.", _ENCODE),
    Meant(
        "schedules_entries", "not a task", "raises AttributeE*", "raises AttributeE*", "It says what to write.", _WORDS
    ),
    Meant("schedules_entries", "another of the name", "*", "raises ValueE*", "Else one would be lost.", _TWO),
    Meant("schedules_entries", "another of the call", "'add(1)'", "'add(1) 11'", "Both are sent.", _TWO),
    Meant("schedules_entries", "number", "7", "8", "Both are sent.", _TWO),
    Meant("schedules*", "from_string *", "raises ValueE*", "raises ValueE*", "It tells the forms.", _WORDS),
    Meant("eager_always", "too few", "raises TypeE*", "raises TypeE*", "The words name the task.", _WORDS),
    Meant("eager_always", "nested", "raises RuntimeE*", "raises RuntimeE*", "The advice is Lavoro's.", _WORDS),
    Meant("eager_apply", "*.traceback", "?celery.exc*", "?lavoro.e*", "The class has its own module.", _WORDS),
    Meant("eager_always", "pickle.same", "[1, 2]", "(1, 2)", "A setting holds as soon as it is set.", _LATE),
    Meant("eager_always", "pickle.thing", "raises Enc*", "False", "A setting holds as soon as it is set.", _LATE),
    Meant("eager_always", "show.own", "None", "1", "A run here has the fields of a run in a worker.", _EAGER),
    *(
        Meant("eager_apply", f"request.{field}", there, here, "It has the fields of a run in a worker.", _EAGER)
        for field, there, here in (
            ("correlation_id", "None*", "'given'*"),
            ("properties", "None*", "{'correlation_id'*"),
            ("argsrepr", "raises Attr*", "'(1,)'*"),
            ("kwargsrepr", "raises Attr*", "*{'a': 2}*"),
            ("lang", "raises Attr*", "'py'*"),
        )
    ),
    Meant("calls_request", "worker *.unknown", "raises Attr*", "raises Attr*", "It says what is missing.", _WORDS),
    Meant("calls_context", "*.unknown", "raises Attr*", "raises Attr*", "It says what is missing.", _WORDS),
    Meant("calls_request", "worker *.hostname", "'celery'", "'worker'", "Nodes are named worker@host.", _NODES),
    Meant("calls_request", "worker *.origin", "'gen<pid>@<host>'", "None", "No sender is recorded.", _MESSAGE),
    Meant("calls_request", "worker *.reply_to", "'str'", "'NoneType'", "Results are rows, not replies.", _MESSAGE),
    Meant("calls_request", "worker *.properties", "*'delivery_tag'*", "*", "There is no message broker.", _MESSAGE),
    Meant("find_app", "*", "raises *", "raises ImproperlyConfigured(*", "It says how to name the application.", _WORDS),
    *(
        Meant(
            "results_exceptions", f"{kind}.{key}", "*", "*", "Applications catch the class that was raised.", _CLASSES
        )
        for kind, keys in {
            "json": "get class is str",
            "local": "get class str traceback",
            "required": "get str",
            "two required": "get class is str traceback",
            "unencodable": "get class is str traceback",
            "odd text": "traceback",
        }.items()
        for key in keys.split()
    ),
    Meant("tasks_pydantic", "*.get", "'Exception'", "'ValidationError'", "Applications catch this class.", _CLASSES),
    Meant("results_api", "not extended.*", "None", "*", "These are columns of the row.", _EXTENDED),
    Meant("results_api", "worker get in a task", "raises R*", "raises R*", "The advice is Lavoro's.", _WORDS),
    Meant(
        "results_api",
        "unknown.get",
        "raises TimeoutE*",
        "raises TimeoutE*",
        "It tells what the task waits for.",
        _WORDS,
    ),
    Meant("results_api", "then", "raises RuntimeE*", "5 -> *", "It works without a special backend.", _EXTENDED),
    *(
        Meant("results_api", key, "*TimeoutE*", "*TimeoutE*", "It tells what the task waits for.", _WORDS, "solo")
        for key in ("worker get in a task, *", "end of part_in_a_task")
    ),
    Meant("results_api", "worker get in a task", "2", "raises R*", "Each task keeps its slot.", _GET_INSIDE, "gevent"),
    Meant("revoke", "worker later.task_revoked", "(*", "(nothing)", "No worker has the task yet.", _WAITS),
    Meant(
        "autodiscover",
        "worker import_modules",
        "'autodiscover'",
        "'autodiscover' -> 'autodiscover'",
        "Each process imports the tasks.",
        _PROCESSES,
        "prefork",
    ),
    Meant("results_extended", "waiting.get", "raises T*", "raises T*", "It tells what the task waits for.", _WORDS),
    Meant("results_special", "custom.ready", "(F*", "(T*", "The task is over.", "`Ignore` after `update_state`"),
    Meant("results_special", "unencodable.get", "raises Enc*", "None", "Nobody asks for the result.", _RESULT),
    Meant("results_special", "unencodable.state", "'FAILURE'", "'SUCCESS'", "Nobody asks for the result.", _RESULT),
    Meant(
        "results_special",
        "worker results_special.unencodable.task_failure",
        "EncodeError(*",
        "(nothing)",
        "Nobody asks for the result.",
        _RESULT,
    ),
    Meant("results_special", "ignore.state", "'PENDING'", "'IGNORED'", "The task is over.", _IGNORED),
    Meant("retry_auto", "ignores.ready", "'PENDING'", "'IGNORED'", "The task is over.", _IGNORED),
    Meant("retry_auto", "by hand.get", "raises T*", "None", "No task stays for ever.", _RAISED),
    Meant("retry_auto", "worker plain_retry", "0", "0 -> 1", "No task stays for ever.", _RAISED),
    *(
        Meant("retry_auto", f"*.{option}", "raises Attr*", default, "Nothing was set.", _UNBOUND)
        for option, default in {
            "autoretry_for": "()",
            "dont_autoretry_for": "()",
            "retry_backoff": "False",
            "retry_backoff_max": "600",
            "retry_jitter": "True",
            "retry_kwargs": "None",
        }.items()
    ),
    Meant("retry_explicit", "throw.get", "'first'", "'throw'", "A task has one result: that of its last try.", _THROW),
    Meant(
        "retry_explicit",
        "worker *.arguments.signal",
        "*",
        "*('throw', 0, Retry(*",
        "The run ends as `RETRY`.",
        _THROW,
    ),
    Meant(
        "retry_explicit", "worker exhausted context.retry", "*None, None, None*", "*IndexE*", "It caused it.", _NO_EXC
    ),
    Meant("retry_explicit", "worker *.exhausted.signal", "*Retry(None, None*", "*IndexE*", "It caused it.", _NO_EXC),
    Meant(
        "retry_explicit",
        "worker *.exhausted.on_retry",
        "*(None, 'exhausted context'*",
        "*(IndexError('handled'), 'exhausted context'*",
        "It caused it.",
        _NO_EXC,
    ),
    Meant("retry_explicit", "worker exhausted *.sig", "False*", "True*", "A retry gives its own row back.", _INTERNAL),
    Meant("retry_explicit", "worker remembers.1", "*'remembers', 1)", "*None, 1)", "It is the same task.", _PARENT),
    Meant(
        "retry_explicit",
        "worker *.exhausted.after_return",
        "*, {}, True)*",
        "*, {}, False)*",
        "Handlers see the exception.",
        _EINFO,
    ),
    Meant("handlers_failing", "retry on_retry.get", "raises R*", "'retry'", "The retry stays one.", _BROKEN),
    Meant("handlers_failing", "retry on_retry.result", "R*", "'retry'", "The retry stays one.", _BROKEN),
    Meant("handlers_failing", "retry on_retry.state", "'FAILURE'", "'SUCCESS'", "The retry stays one.", _BROKEN),
    Meant(
        "handlers_failing",
        "worker fail on_failure.after_return",
        "(nothing)",
        "('FAILURE', ValueE*",
        "One handler does not stop the next.",
        _BROKEN,
    ),
    Meant(
        "handlers_failing",
        "worker signals",
        "*'task_prerun' -> 'task_postrun' -> 'task_failure'*",
        "*'task_failure' -> 'task_postrun' -> 'task_prerun' -> 'task_postrun' -> 'task_prerun'*",
        "One handler does not stop the signals.",
        _BROKEN,
    ),
    Meant("retry_exception", "*.humanize", "'at None'", "'now'", "No time is: now.", _WORDS),
    Meant("retry_exception", "*.str", "*Retry at None*", "*Retry now*", "No time is: now.", _WORDS),
    Meant("handlers", "*.einfo", "*", "['ExceptionInfo'*", "Handlers see the exception itself.", _EINFO),
    Meant("handlers", "*.task_received.*", "*", "*", "The child process receives tasks.", _SENDERS),
    Meant("limits", "*", "*TimeLimitExceeded*", "*TimeLimitExceeded*", "The words tell the limit.", _WORDS),
    Meant("worker_lost", "*.on_failure", "(nothing)", "('WorkerLostE*", "The task has failed.", _KILLED),
    Meant("routing", "amqp.*", "*", "raises MissingA*", "There is no message broker.", _OTHER_NAMES),
    Meant("app_api", "*", "'is there'", "'comes later, and says so'", "The name tells what to use.", _LATER),
    Meant("app_api", "missing", "raises NotR*", "raises NotR*", "It says what to do.", _WORDS),
    Meant("app_api", "unregister again", "raises NotR*", "raises NotR*", "The task is named.", _WORDS),
    Meant("app_api", "unknown", "raises Attr*", "raises Attr*", "The class has a name of its own.", _REPR),
    Meant("app_api", "repr*", "'<Celery *", "'<Lavoro *", "The class has a name of its own.", _REPR),
    Meant("app_api", "Task repr", "*", "*", "The class has a module of its own.", _REPR),
    Meant("tasks_attributes", "method *", "True", "raises MissingA*", "The name tells what to use.", _INTERNAL),
    Meant("tasks_attributes", "plain.acks_late", "False", "True", "No task is lost with its worker.", "`acks_late`"),
    Meant("tasks_classes", "no run", "raises NotI*", "raises NotI*", "The task is named.", _WORDS),
    Meant("tasks_shared", "not callable", "raises T*", "raises T*", "It says what to do.", _WORDS),
    Meant("tasks_shared", "two arguments", "raises T*", "raises T*", "They are Python's.", _WORDS),
    Meant(
        "tasks_shared",
        "one name",
        "'first'",
        "raises I*",
        "One of them would never run.",
        "two functions under one name",
    ),
    Meant("tasks_context", "sees*", "*", "*nothing*", "A greenlet has its own `threading.local`.", "pool", "default"),
    Meant("unregistered", "elsewhere", "raises T*", "raises T*", "It tells what the task waits for.", _WORDS),
    Meant("unregistered", "unknown.ready", "True", "False", "A newer worker may know it.", "unregistered task"),
    Meant("unregistered", "unknown.get", "raises NotR*", "raises T*", "A worker may know it.", "unregistered task"),
    Meant(
        "unregistered",
        "worker task_unknown",
        "('nobody.knows', *",
        "('nobody.knows', * -> ('nobody.knows', *",
        "A newer worker may know it.",
        "unregistered task",
    ),
    Meant("app_api", "loader", "'AppLoader'", "'Loader'", "The class has a name of its own.", _REPR),
    Meant("app_api", "task_cls", "'celery.app.task:Task'", "<class Task>", "The class is known.", _REPR),
    Meant("app_api", "regular", "*'kept']", "*'celery.starmap']", "A task belongs to its application.", _OTHERS),
    Meant("app_api", "steps", "defaultdict{}", "defaultdict{'c*", "The worker's parts are fixed.", _LATER),
    Meant("app_api", "unknown meta", "{'result': None, 'st*", "{'children': []*", "A row has all fields.", _META),
    Meant("calls_context", "outside.task", "raises Attr*", "'calls_context.show'", "The name is known.", _OUTSIDE),
    Meant("calls_context", "stack t*", "*", "raises MissingA*", "Requests are in the context.", _INTERNAL),
    Meant(
        "calls_publish_signals",
        "queue.before.properties.*",
        "None",
        "(nothing)",
        "There is no message broker.",
        _ROUTERS,
    ),
    Meant(
        "calls_publish_signals",
        "send_task.before.headers.ignore_result",
        "None",
        "False",
        "The setting decides it.",
        _ROUTERS,
    ),
    Meant("routing", "route arguments", "*", "*[], 'routing.by_function'*", "There is no message broker.", _ROUTERS),
    Meant("cli", "exit code of --config none --loader *", "0", "2", "The application names them.", _LOADER),
    Meant("cli", "exit code of -A no_such_module worker", "2", "1", "The command line is right.", _EXIT),
    Meant("conf_objects", "assigned", "raises Attr*", "'assigned'", "The settings stay settings.", _CONF),
    Meant("conf_objects", "changes", "{'deprecated_settings'*", "{'new'*", "There is no such setting.", _CONF),
    Meant("conf_objects", "configured", "False", "True", "The settings have been read.", _CONF),
    Meant("conf_objects", "table censored", "'****", "None", "None is no secret.", _CONF),
    Meant("conf_objects", "setdefault", "(None*", "(1, 6, 6)", "It does as a dict does.", _SETDEFAULT),
    Meant("conf_objects", "setdefault known", "None", "'x'", "Nobody has set it before.", _SETDEFAULT),
    Meant("conf_objects", "find_option", "'searchresult'", "'Found'", "The class has a name of its own.", _REPR),
    Meant("conf_objects", "config_from_envvar", "raises Impr*", "raises Impr*", "It is one line.", _WORDS),
    Meant("conf_objects", "mixed*", "raises Impr*", "raises Impr*", "The empty lines are left out.", _WORDS),
    Meant("conf_objects", "delete", "raises KeyE*", "raises KeyE*", "The words are Python's.", _WORDS),
    Meant("proxies", "type of default", "'Celery'", "'_DefaultApp'", "The class has a name of its own.", _REPR),
    Meant(
        "serializers", "result.*", "'EncodeError'", "None", "No backend is set, so nobody asks for the result.", _RESULT
    ),
    Meant("states_exceptions", "NotRegistered repr", "*", "*NotRegistered('a.task')*", "It is Python's.", _WORDS),
    Meant("states_exceptions", "NotRegistered.str", "*words*", "'words'", "The text is the message.", _WORDS),
    Meant("states_exceptions", "QueueNotFound.str", "*words*", "'words'", "The text is the message.", _WORDS),
    Meant("states_exceptions", "SoftTimeLimitExceeded.str", "*words*", "'words'", "The text is the message.", _WORDS),
    Meant("states_exceptions", "TimeLimitExceeded.str", "*words*", "'words'", "The text is the message.", _WORDS),
    Meant("states_exceptions", "hard limit", "'Time*", "'5'", "The text is the message.", _WORDS),
    Meant("states_exceptions", "soft limit", "'Soft*", "''", "The text is the message.", _WORDS),
    Meant("tasks_annotations", "caller named", "(5*", "raises Attr*", "The application is not in use yet.", _ANNOTATE),
    Meant("tasks_annotations", "caller other", "(3, 33)", "(3, 180)", "The application is not in use yet.", _ANNOTATE),
    Meant("tasks_annotations", "caller by_class", "21", "3", "The application is not in use yet.", _ANNOTATE),
    Meant("tasks_attributes", "*.exchange", "raises Attr*", "None", "Nothing was set.", _UNBOUND),
    Meant("tasks_attributes", "*.queue", "raises Attr*", "None", "Nothing was set.", _UNBOUND),
    Meant("tasks_attributes", "*.routing_key", "raises Attr*", "None", "Nothing was set.", _UNBOUND),
    Meant("tasks_attributes", "Task.store_eager_result", "raises Attr*", "None", "Nothing was set.", _UNBOUND),
    Meant("tasks_attributes", "Task.typing", "None", "True", "It is the default.", _UNBOUND),
    Meant("tasks_attributes", "*.from_config", "*", "raises Attr*", "Descriptors read the settings.", _INTERNAL),
    Meant("tasks_attributes", "__header__*", "*", "raises Attr*", "Arguments are checked by the call.", _INTERNAL),
    Meant("tasks_attributes", "method _get_*", "True", "raises Attr*", "They are Celery's own.", _INTERNAL),
    Meant("tasks_attributes", "class bases", "['PromiseProxy'*", "['based'*", "Nothing stands for the task.", _PROXIES),
    Meant(
        "tasks_attributes",
        "update_state outside",
        "raises ValueE*",
        "None",
        "No task runs here: the log warns.",
        _UPDATE,
    ),
    Meant("tasks_classes", "register function", "raises Attr*", "raises Attr*", "It says what to do.", _WORDS),
    Meant(
        "tasks_classes",
        "unregistered apply",
        "raises NotR*",
        "'unregistered'",
        "The class says what to run.",
        _UNKNOWN_APPLY,
    ),
    Meant("logging_loggers", "LOG_SUCCESS", "*(runtime)ss*", "*(runtime).6fs*", "More digits tell nothing.", _RUNTIME),
    Meant("logging_worker", "worker long.succeeded.*", "*xxx*", "*xxx*", "It tells how much is left out.", _SHORTENED),
    Meant(
        "logging_worker",
        "worker none..logger",
        "*.request'",
        "*.app.trace'",
        "The task's process tells it.",
        _DISCARDED,
    ),
    Meant("logging_worker", "worker none..text", "'Disc*", "'Disc*: expired at *", "It tells why.", _DISCARDED),
    Meant(
        "prints", "worker * a task.record", "(nothing)", "(*", "Each line of the log has its time and task.", _PRINTS
    ),
    Meant("prints", "worker two lines *", "(*", "(nothing)", "Each line of the log has its time and task.", _PRINTS),
    Meant("signals_dispatch", "no *", "raises ValueE*", "raises ValueE*", "The receiver is named.", _WORDS),
    Meant(
        "signals_dispatch", "task", "['all', 'proxy']", "['proxy', 'all']", "The task is known by its name.", _PENDING
    ),
    Meant(
        "signals_worker", "worker import_modules.sender", "'Celery'", "'Lavoro'", "The class has its own name.", _REPR
    ),
    Meant("signals_worker", "worker worker_*.sender", "'Worker'", "'Child'", "Each process has its signals.", _SENDERS),
    Meant(
        "signals_worker", "worker worker_ready.sender", "'Con*", "'Child'", "Each process has its signals.", _SENDERS
    ),
    Meant(
        "signals_worker",
        "worker worker_before_create_process.*",
        "*",
        "(nothing)",
        "No process that has read the application starts others.",
        _BEFORE_PROCESS,
    ),
    *(
        Meant("logging_loggers", f"worker {key}", "*", "* -> *", "Each process sets its log up.", _PROCESSES, "prefork")
        for key in ("after_setup_logger", "after_setup_task_logger", "format", "task format")
    ),
    *(
        Meant("signals_worker", key, "(nothing)", "*", "The pool runs in a process of its own.", _PROCESSES, pool)
        for key, pools in (
            ("worker worker_process_init.*", ("gevent", "threads")),
            ("worker worker_process_shutdown.*", ("gevent", "threads", "solo")),
        )
        for pool in pools
    ),
    *(
        Meant("canvas_orders", key, celery, lavoro, "The body is stored with the header.", _BODY_SENT)
        for key, celery, lavoro in (
            ("*/body", "(nothing)", "'before_task_publish'"),
            ("one", "'0 before_task_publish'", "* -> 'body before_task_publish'"),
            ("worker one", "*'body before_task_publish'*", "*"),
            ("worker */body", "'before_task_publish' -> *", "'task_prerun' -> *"),
        )
    ),
    Meant(
        "canvas_orders",
        "worker many broken/body",
        "(nothing)",
        "'on_failure ChordError' -> *",
        "It has failed as any task has.",
        _BODY_FAILED,
    ),
    *(
        Meant("canvas_requests", key, "*", lavoro, "No task of the header has sent it.", _BODY)
        for key, lavoro in (
            ("worker */body", "*'parent': None*"),
            ("worker */inner", "*'parent': None*"),
            ("worker chain behind a chord/2", "*'parent': 'chain behind a chord/0'*"),
            ("worker body is a chain/1", "*'root': '<id>'}"),
            ("worker <id>", "*"),
        )
    ),
    Meant(
        "canvas_requests",
        "worker body is a chain/0",
        "*['body is a chain/1', 'chain']*",
        "*['<id>', 'told']*",
        "The task that waits for the header is the first step.",
        _CHORD,
    ),
    *(
        Meant(
            "canvas_errbacks", f"worker called: of {whose}", "*", "*", "It is the request of the body.", _BODY_REQUEST
        )
        for whose in ("a body", "a chord", "the body of that", "an inner body")
    ),
    *(
        Meant("canvas_errbacks", f"worker {how}: of a failing body", "*body/0*", "*body/body*", "It is its own.", _BODY)
        for how in ("called", "sent")
    ),
    Meant(
        "canvas_errbacks",
        "result of step in a header/body",
        "*Dependency <id> *",
        "*Dependency step in a header/0 *",
        "It names the cause.",
        _CHORD_ERROR,
    ),
    *(
        Meant("canvas_errbacks", key, celery, "*", "Nothing waits for ever.", _INNER)
        for key, celery in (
            ("result of inner/body", "raises TimeoutError*"),
            ("state of called: of the outer body", "raises AssertionError*"),
            ("worker called: of the outer body", "(nothing)"),
        )
    ),
    *(
        Meant("canvas_eager", f"{shape}, *: {key}", celery, "*", "It ends as with a worker.", _EAGER_FAILS)
        for shape in ("failing step", "failing header", "failing chain in a group")
        for key, celery in (("class", "raises ValueError*"), ("value", "raises TypeError*"), ("called", "*"))
        if (shape, key) != ("failing step", "called")
    ),
    *(
        Meant(
            "canvas_eager",
            f"{shape}, apply_async: value",
            "raises RuntimeError*",
            "*",
            "It is allowed.",
            _EAGER_REPLACE,
        )
        for shape in ("replaced", "replaced by a chord")
    ),
    *(
        Meant("canvas_eager", key, celery, "*'<id>'*", "Callers wait for that id.", _OWN_ID)
        for key, celery in (("replaced*, apply: called", "*'0'*"), ("replaced*, apply_async: called", "*"))
    ),
)
