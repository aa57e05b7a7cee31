"""The rules that the box has for itself: its own faults are alarms of the home ``gateway``."""

from sensor_guard.engine.plan import Condition, Form, Rule
from sensor_guard.model import MINUTE, SECOND, Severity, Span

LADDER = "technical"

# id, hold, names, messages. A broker that restarts and an InfluxDB that is upgraded are no faults yet.
_FAULTS: tuple[tuple[str, Span, str, str, str, str], ...] = (
    (
        "broker_offline",
        60 * SECOND,
        "消息服务器断开",
        "MQTT broker offline",
        "{home} 与MQTT服务器断开已{held}，各户暂时无法监护，请检修",
        "{home}: MQTT broker gone for {held}, homes unseen",
    ),
    (
        "session_lost",
        0,
        "会话丢失",
        "MQTT session lost",
        "{home} 的MQTT会话丢失，可能漏收读数，请检查",
        "{home}: MQTT session lost, readings may be missing",
    ),
    (
        "broker_dropped",
        0,
        "服务器丢弃消息",
        "MQTT broker dropped messages",
        "{home} 的MQTT服务器丢弃了消息，请检查其队列上限",
        "{home}: MQTT broker drops messages, see its limits",
    ),
    (
        "device_gap",
        0,
        "读数缺失",
        "Readings missing",
        "{home} 收到的读数序号不连续，有读数丢失，请检查",
        "{home}: gaps in sequence numbers, readings lost",
    ),
    (
        "influxdb_offline",
        15 * MINUTE,
        "历史库断开",
        "InfluxDB offline",
        "{home} 的InfluxDB已断开{held}，报警不受影响，请检修",
        "{home}: InfluxDB gone for {held}, alarms go on",
    ),
    (
        "sms_offline",
        0,
        "短信通道故障",
        "SMS channel down",
        "{home} 的短信通道故障，报警短信发不出，请立即检修",
        "{home}: texts cannot be sent, repair at once",
    ),
    (
        "disk_full",
        0,
        "磁盘已满",
        "Disk full",
        "{home} 的磁盘已满，请立即清理",
        "{home}: disk full, make room at once",
    ),
    (
        "journal_unwritable",
        0,
        "日志库无法写入",
        "Journal cannot be written",
        "{home} 的日志库无法写入，读数暂停接收，请立即检修磁盘",
        "{home}: journal cannot be written, mend the disk",
    ),
    (
        "journal_damaged",
        0,
        "日志库损坏",
        "Journal damaged",
        "{home} 的日志库损坏，已另存并新建，请核对报警和磁盘",
        "{home}: journal was damaged, check alarms and disk",
    ),
    (
        "replay_differed",
        0,
        "重放结果不一致",
        "Replay differed",
        "{home} 重启后重放结果与记录不一致，请报告开发者",
        "{home}: a restart decided otherwise, report it",
    ),
    (
        "config_wrong",
        0,
        "配置有误",
        "Configuration wrong",
        "{home} 的配置文件有误，仍按旧配置运行，请运行check",
        "{home}: wrong files, old rules go on: run check",
    ),
    (
        "clock_unsynchronised",
        5 * MINUTE,
        "时钟未同步",
        "Clock not synchronised",
        "{home} 的时钟未同步，请检查网络对时",
        "{home}: clock not synchronised, check NTP",
    ),
    (
        "homes_blind",
        0,
        "多户失联",
        "Homes unseen",
        "{home} 下多户传感器失联，请检查网络和电源",
        "{home}: many homes unseen, check network and power",
    ),
)

FAULT_RULES: tuple[Rule, ...] = tuple(
    Rule(
        fault_id,
        Condition(Form.FAULT, hold_for=hold_for),
        Severity.MAINTENANCE,
        LADDER,
        names=(("zh", name_zh), ("en", name_en)),
        messages=(("zh", message_zh), ("en", message_en)),
    )
    for fault_id, hold_for, name_zh, name_en, message_zh, message_en in _FAULTS
)
FAULT_IDS: frozenset[str] = frozenset(rule.rule_id for rule in FAULT_RULES)
