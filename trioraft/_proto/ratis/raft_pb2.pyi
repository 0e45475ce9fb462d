from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RaftPeerRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEADER: _ClassVar[RaftPeerRole]
    CANDIDATE: _ClassVar[RaftPeerRole]
    FOLLOWER: _ClassVar[RaftPeerRole]
    LISTENER: _ClassVar[RaftPeerRole]

class InstallSnapshotResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUCCESS: _ClassVar[InstallSnapshotResult]
    NOT_LEADER: _ClassVar[InstallSnapshotResult]
    IN_PROGRESS: _ClassVar[InstallSnapshotResult]
    ALREADY_INSTALLED: _ClassVar[InstallSnapshotResult]
    CONF_MISMATCH: _ClassVar[InstallSnapshotResult]
    SNAPSHOT_INSTALLED: _ClassVar[InstallSnapshotResult]
    SNAPSHOT_UNAVAILABLE: _ClassVar[InstallSnapshotResult]
    SNAPSHOT_EXPIRED: _ClassVar[InstallSnapshotResult]

class ReplicationLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MAJORITY: _ClassVar[ReplicationLevel]
    ALL: _ClassVar[ReplicationLevel]
    MAJORITY_COMMITTED: _ClassVar[ReplicationLevel]
    ALL_COMMITTED: _ClassVar[ReplicationLevel]
LEADER: RaftPeerRole
CANDIDATE: RaftPeerRole
FOLLOWER: RaftPeerRole
LISTENER: RaftPeerRole
SUCCESS: InstallSnapshotResult
NOT_LEADER: InstallSnapshotResult
IN_PROGRESS: InstallSnapshotResult
ALREADY_INSTALLED: InstallSnapshotResult
CONF_MISMATCH: InstallSnapshotResult
SNAPSHOT_INSTALLED: InstallSnapshotResult
SNAPSHOT_UNAVAILABLE: InstallSnapshotResult
SNAPSHOT_EXPIRED: InstallSnapshotResult
MAJORITY: ReplicationLevel
ALL: ReplicationLevel
MAJORITY_COMMITTED: ReplicationLevel
ALL_COMMITTED: ReplicationLevel

class RaftPeerProto(_message.Message):
    __slots__ = ("id", "address", "priority", "dataStreamAddress", "clientAddress", "adminAddress", "startupRole")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    DATASTREAMADDRESS_FIELD_NUMBER: _ClassVar[int]
    CLIENTADDRESS_FIELD_NUMBER: _ClassVar[int]
    ADMINADDRESS_FIELD_NUMBER: _ClassVar[int]
    STARTUPROLE_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    address: str
    priority: int
    dataStreamAddress: str
    clientAddress: str
    adminAddress: str
    startupRole: RaftPeerRole
    def __init__(self, id: _Optional[bytes] = ..., address: _Optional[str] = ..., priority: _Optional[int] = ..., dataStreamAddress: _Optional[str] = ..., clientAddress: _Optional[str] = ..., adminAddress: _Optional[str] = ..., startupRole: _Optional[_Union[RaftPeerRole, str]] = ...) -> None: ...

class RaftPeerIdProto(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    def __init__(self, id: _Optional[bytes] = ...) -> None: ...

class RaftGroupIdProto(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    def __init__(self, id: _Optional[bytes] = ...) -> None: ...

class RaftGroupProto(_message.Message):
    __slots__ = ("groupId", "peers")
    GROUPID_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    groupId: RaftGroupIdProto
    peers: _containers.RepeatedCompositeFieldContainer[RaftPeerProto]
    def __init__(self, groupId: _Optional[_Union[RaftGroupIdProto, _Mapping]] = ..., peers: _Optional[_Iterable[_Union[RaftPeerProto, _Mapping]]] = ...) -> None: ...

class RaftGroupMemberIdProto(_message.Message):
    __slots__ = ("peerId", "groupId")
    PEERID_FIELD_NUMBER: _ClassVar[int]
    GROUPID_FIELD_NUMBER: _ClassVar[int]
    peerId: bytes
    groupId: RaftGroupIdProto
    def __init__(self, peerId: _Optional[bytes] = ..., groupId: _Optional[_Union[RaftGroupIdProto, _Mapping]] = ...) -> None: ...

class TermIndexProto(_message.Message):
    __slots__ = ("term", "index")
    TERM_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    term: int
    index: int
    def __init__(self, term: _Optional[int] = ..., index: _Optional[int] = ...) -> None: ...

class RaftConfigurationProto(_message.Message):
    __slots__ = ("peers", "oldPeers", "listeners", "oldListeners")
    PEERS_FIELD_NUMBER: _ClassVar[int]
    OLDPEERS_FIELD_NUMBER: _ClassVar[int]
    LISTENERS_FIELD_NUMBER: _ClassVar[int]
    OLDLISTENERS_FIELD_NUMBER: _ClassVar[int]
    peers: _containers.RepeatedCompositeFieldContainer[RaftPeerProto]
    oldPeers: _containers.RepeatedCompositeFieldContainer[RaftPeerProto]
    listeners: _containers.RepeatedCompositeFieldContainer[RaftPeerProto]
    oldListeners: _containers.RepeatedCompositeFieldContainer[RaftPeerProto]
    def __init__(self, peers: _Optional[_Iterable[_Union[RaftPeerProto, _Mapping]]] = ..., oldPeers: _Optional[_Iterable[_Union[RaftPeerProto, _Mapping]]] = ..., listeners: _Optional[_Iterable[_Union[RaftPeerProto, _Mapping]]] = ..., oldListeners: _Optional[_Iterable[_Union[RaftPeerProto, _Mapping]]] = ...) -> None: ...

class StateMachineEntryProto(_message.Message):
    __slots__ = ("stateMachineData", "logEntryProtoSerializedSize")
    STATEMACHINEDATA_FIELD_NUMBER: _ClassVar[int]
    LOGENTRYPROTOSERIALIZEDSIZE_FIELD_NUMBER: _ClassVar[int]
    stateMachineData: bytes
    logEntryProtoSerializedSize: int
    def __init__(self, stateMachineData: _Optional[bytes] = ..., logEntryProtoSerializedSize: _Optional[int] = ...) -> None: ...

class StateMachineLogEntryProto(_message.Message):
    __slots__ = ("logData", "stateMachineEntry", "type", "clientId", "callId")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        WRITE: _ClassVar[StateMachineLogEntryProto.Type]
        DATASTREAM: _ClassVar[StateMachineLogEntryProto.Type]
    WRITE: StateMachineLogEntryProto.Type
    DATASTREAM: StateMachineLogEntryProto.Type
    LOGDATA_FIELD_NUMBER: _ClassVar[int]
    STATEMACHINEENTRY_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CLIENTID_FIELD_NUMBER: _ClassVar[int]
    CALLID_FIELD_NUMBER: _ClassVar[int]
    logData: bytes
    stateMachineEntry: StateMachineEntryProto
    type: StateMachineLogEntryProto.Type
    clientId: bytes
    callId: int
    def __init__(self, logData: _Optional[bytes] = ..., stateMachineEntry: _Optional[_Union[StateMachineEntryProto, _Mapping]] = ..., type: _Optional[_Union[StateMachineLogEntryProto.Type, str]] = ..., clientId: _Optional[bytes] = ..., callId: _Optional[int] = ...) -> None: ...

class MetadataProto(_message.Message):
    __slots__ = ("commitIndex",)
    COMMITINDEX_FIELD_NUMBER: _ClassVar[int]
    commitIndex: int
    def __init__(self, commitIndex: _Optional[int] = ...) -> None: ...

class LogEntryProto(_message.Message):
    __slots__ = ("term", "index", "stateMachineLogEntry", "configurationEntry", "metadataEntry")
    TERM_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STATEMACHINELOGENTRY_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATIONENTRY_FIELD_NUMBER: _ClassVar[int]
    METADATAENTRY_FIELD_NUMBER: _ClassVar[int]
    term: int
    index: int
    stateMachineLogEntry: StateMachineLogEntryProto
    configurationEntry: RaftConfigurationProto
    metadataEntry: MetadataProto
    def __init__(self, term: _Optional[int] = ..., index: _Optional[int] = ..., stateMachineLogEntry: _Optional[_Union[StateMachineLogEntryProto, _Mapping]] = ..., configurationEntry: _Optional[_Union[RaftConfigurationProto, _Mapping]] = ..., metadataEntry: _Optional[_Union[MetadataProto, _Mapping]] = ...) -> None: ...

class SlidingWindowEntry(_message.Message):
    __slots__ = ("seqNum", "isFirst")
    SEQNUM_FIELD_NUMBER: _ClassVar[int]
    ISFIRST_FIELD_NUMBER: _ClassVar[int]
    seqNum: int
    isFirst: bool
    def __init__(self, seqNum: _Optional[int] = ..., isFirst: _Optional[bool] = ...) -> None: ...

class RouteProto(_message.Message):
    __slots__ = ("peerId", "successors")
    PEERID_FIELD_NUMBER: _ClassVar[int]
    SUCCESSORS_FIELD_NUMBER: _ClassVar[int]
    peerId: RaftPeerIdProto
    successors: _containers.RepeatedCompositeFieldContainer[RaftPeerIdProto]
    def __init__(self, peerId: _Optional[_Union[RaftPeerIdProto, _Mapping]] = ..., successors: _Optional[_Iterable[_Union[RaftPeerIdProto, _Mapping]]] = ...) -> None: ...

class RoutingTableProto(_message.Message):
    __slots__ = ("routes",)
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    routes: _containers.RepeatedCompositeFieldContainer[RouteProto]
    def __init__(self, routes: _Optional[_Iterable[_Union[RouteProto, _Mapping]]] = ...) -> None: ...

class SpanContextProto(_message.Message):
    __slots__ = ("context",)
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    context: _containers.ScalarMap[str, str]
    def __init__(self, context: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RaftRpcRequestProto(_message.Message):
    __slots__ = ("requestorId", "replyId", "raftGroupId", "callId", "toLeader", "spanContext", "repliedCallIds", "timeoutMs", "routingTable", "slidingWindowEntry")
    REQUESTORID_FIELD_NUMBER: _ClassVar[int]
    REPLYID_FIELD_NUMBER: _ClassVar[int]
    RAFTGROUPID_FIELD_NUMBER: _ClassVar[int]
    CALLID_FIELD_NUMBER: _ClassVar[int]
    TOLEADER_FIELD_NUMBER: _ClassVar[int]
    SPANCONTEXT_FIELD_NUMBER: _ClassVar[int]
    REPLIEDCALLIDS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUTMS_FIELD_NUMBER: _ClassVar[int]
    ROUTINGTABLE_FIELD_NUMBER: _ClassVar[int]
    SLIDINGWINDOWENTRY_FIELD_NUMBER: _ClassVar[int]
    requestorId: bytes
    replyId: bytes
    raftGroupId: RaftGroupIdProto
    callId: int
    toLeader: bool
    spanContext: SpanContextProto
    repliedCallIds: _containers.RepeatedScalarFieldContainer[int]
    timeoutMs: int
    routingTable: RoutingTableProto
    slidingWindowEntry: SlidingWindowEntry
    def __init__(self, requestorId: _Optional[bytes] = ..., replyId: _Optional[bytes] = ..., raftGroupId: _Optional[_Union[RaftGroupIdProto, _Mapping]] = ..., callId: _Optional[int] = ..., toLeader: _Optional[bool] = ..., spanContext: _Optional[_Union[SpanContextProto, _Mapping]] = ..., repliedCallIds: _Optional[_Iterable[int]] = ..., timeoutMs: _Optional[int] = ..., routingTable: _Optional[_Union[RoutingTableProto, _Mapping]] = ..., slidingWindowEntry: _Optional[_Union[SlidingWindowEntry, _Mapping]] = ...) -> None: ...

class RaftRpcReplyProto(_message.Message):
    __slots__ = ("requestorId", "replyId", "raftGroupId", "callId", "success")
    REQUESTORID_FIELD_NUMBER: _ClassVar[int]
    REPLYID_FIELD_NUMBER: _ClassVar[int]
    RAFTGROUPID_FIELD_NUMBER: _ClassVar[int]
    CALLID_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    requestorId: bytes
    replyId: bytes
    raftGroupId: RaftGroupIdProto
    callId: int
    success: bool
    def __init__(self, requestorId: _Optional[bytes] = ..., replyId: _Optional[bytes] = ..., raftGroupId: _Optional[_Union[RaftGroupIdProto, _Mapping]] = ..., callId: _Optional[int] = ..., success: _Optional[bool] = ...) -> None: ...

class RequestVoteRequestProto(_message.Message):
    __slots__ = ("serverRequest", "candidateTerm", "candidateLastEntry", "preVote")
    SERVERREQUEST_FIELD_NUMBER: _ClassVar[int]
    CANDIDATETERM_FIELD_NUMBER: _ClassVar[int]
    CANDIDATELASTENTRY_FIELD_NUMBER: _ClassVar[int]
    PREVOTE_FIELD_NUMBER: _ClassVar[int]
    serverRequest: RaftRpcRequestProto
    candidateTerm: int
    candidateLastEntry: TermIndexProto
    preVote: bool
    def __init__(self, serverRequest: _Optional[_Union[RaftRpcRequestProto, _Mapping]] = ..., candidateTerm: _Optional[int] = ..., candidateLastEntry: _Optional[_Union[TermIndexProto, _Mapping]] = ..., preVote: _Optional[bool] = ...) -> None: ...

class RequestVoteReplyProto(_message.Message):
    __slots__ = ("serverReply", "term", "shouldShutdown", "lastEntry")
    SERVERREPLY_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    SHOULDSHUTDOWN_FIELD_NUMBER: _ClassVar[int]
    LASTENTRY_FIELD_NUMBER: _ClassVar[int]
    serverReply: RaftRpcReplyProto
    term: int
    shouldShutdown: bool
    lastEntry: TermIndexProto
    def __init__(self, serverReply: _Optional[_Union[RaftRpcReplyProto, _Mapping]] = ..., term: _Optional[int] = ..., shouldShutdown: _Optional[bool] = ..., lastEntry: _Optional[_Union[TermIndexProto, _Mapping]] = ...) -> None: ...

class CommitInfoProto(_message.Message):
    __slots__ = ("server", "commitIndex")
    SERVER_FIELD_NUMBER: _ClassVar[int]
    COMMITINDEX_FIELD_NUMBER: _ClassVar[int]
    server: RaftPeerProto
    commitIndex: int
    def __init__(self, server: _Optional[_Union[RaftPeerProto, _Mapping]] = ..., commitIndex: _Optional[int] = ...) -> None: ...

class AppendEntriesRequestProto(_message.Message):
    __slots__ = ("serverRequest", "leaderTerm", "previousLog", "entries", "leaderCommit", "initializing", "commitInfos")
    SERVERREQUEST_FIELD_NUMBER: _ClassVar[int]
    LEADERTERM_FIELD_NUMBER: _ClassVar[int]
    PREVIOUSLOG_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    LEADERCOMMIT_FIELD_NUMBER: _ClassVar[int]
    INITIALIZING_FIELD_NUMBER: _ClassVar[int]
    COMMITINFOS_FIELD_NUMBER: _ClassVar[int]
    serverRequest: RaftRpcRequestProto
    leaderTerm: int
    previousLog: TermIndexProto
    entries: _containers.RepeatedCompositeFieldContainer[LogEntryProto]
    leaderCommit: int
    initializing: bool
    commitInfos: _containers.RepeatedCompositeFieldContainer[CommitInfoProto]
    def __init__(self, serverRequest: _Optional[_Union[RaftRpcRequestProto, _Mapping]] = ..., leaderTerm: _Optional[int] = ..., previousLog: _Optional[_Union[TermIndexProto, _Mapping]] = ..., entries: _Optional[_Iterable[_Union[LogEntryProto, _Mapping]]] = ..., leaderCommit: _Optional[int] = ..., initializing: _Optional[bool] = ..., commitInfos: _Optional[_Iterable[_Union[CommitInfoProto, _Mapping]]] = ...) -> None: ...

class AppendEntriesReplyProto(_message.Message):
    __slots__ = ("serverReply", "term", "nextIndex", "result", "followerCommit", "matchIndex", "isHearbeat")
    class AppendResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SUCCESS: _ClassVar[AppendEntriesReplyProto.AppendResult]
        NOT_LEADER: _ClassVar[AppendEntriesReplyProto.AppendResult]
        INCONSISTENCY: _ClassVar[AppendEntriesReplyProto.AppendResult]
    SUCCESS: AppendEntriesReplyProto.AppendResult
    NOT_LEADER: AppendEntriesReplyProto.AppendResult
    INCONSISTENCY: AppendEntriesReplyProto.AppendResult
    SERVERREPLY_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    NEXTINDEX_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FOLLOWERCOMMIT_FIELD_NUMBER: _ClassVar[int]
    MATCHINDEX_FIELD_NUMBER: _ClassVar[int]
    ISHEARBEAT_FIELD_NUMBER: _ClassVar[int]
    serverReply: RaftRpcReplyProto
    term: int
    nextIndex: int
    result: AppendEntriesReplyProto.AppendResult
    followerCommit: int
    matchIndex: int
    isHearbeat: bool
    def __init__(self, serverReply: _Optional[_Union[RaftRpcReplyProto, _Mapping]] = ..., term: _Optional[int] = ..., nextIndex: _Optional[int] = ..., result: _Optional[_Union[AppendEntriesReplyProto.AppendResult, str]] = ..., followerCommit: _Optional[int] = ..., matchIndex: _Optional[int] = ..., isHearbeat: _Optional[bool] = ...) -> None: ...

class FileChunkProto(_message.Message):
    __slots__ = ("filename", "totalSize", "fileDigest", "chunkIndex", "offset", "data", "done")
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    TOTALSIZE_FIELD_NUMBER: _ClassVar[int]
    FILEDIGEST_FIELD_NUMBER: _ClassVar[int]
    CHUNKINDEX_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    filename: str
    totalSize: int
    fileDigest: bytes
    chunkIndex: int
    offset: int
    data: bytes
    done: bool
    def __init__(self, filename: _Optional[str] = ..., totalSize: _Optional[int] = ..., fileDigest: _Optional[bytes] = ..., chunkIndex: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., done: _Optional[bool] = ...) -> None: ...

class InstallSnapshotRequestProto(_message.Message):
    __slots__ = ("serverRequest", "leaderTerm", "snapshotChunk", "notification", "lastRaftConfigurationLogEntryProto")
    class SnapshotChunkProto(_message.Message):
        __slots__ = ("requestId", "requestIndex", "raftConfiguration", "termIndex", "fileChunks", "totalSize", "done")
        REQUESTID_FIELD_NUMBER: _ClassVar[int]
        REQUESTINDEX_FIELD_NUMBER: _ClassVar[int]
        RAFTCONFIGURATION_FIELD_NUMBER: _ClassVar[int]
        TERMINDEX_FIELD_NUMBER: _ClassVar[int]
        FILECHUNKS_FIELD_NUMBER: _ClassVar[int]
        TOTALSIZE_FIELD_NUMBER: _ClassVar[int]
        DONE_FIELD_NUMBER: _ClassVar[int]
        requestId: str
        requestIndex: int
        raftConfiguration: RaftConfigurationProto
        termIndex: TermIndexProto
        fileChunks: _containers.RepeatedCompositeFieldContainer[FileChunkProto]
        totalSize: int
        done: bool
        def __init__(self, requestId: _Optional[str] = ..., requestIndex: _Optional[int] = ..., raftConfiguration: _Optional[_Union[RaftConfigurationProto, _Mapping]] = ..., termIndex: _Optional[_Union[TermIndexProto, _Mapping]] = ..., fileChunks: _Optional[_Iterable[_Union[FileChunkProto, _Mapping]]] = ..., totalSize: _Optional[int] = ..., done: _Optional[bool] = ...) -> None: ...
    class NotificationProto(_message.Message):
        __slots__ = ("firstAvailableTermIndex",)
        FIRSTAVAILABLETERMINDEX_FIELD_NUMBER: _ClassVar[int]
        firstAvailableTermIndex: TermIndexProto
        def __init__(self, firstAvailableTermIndex: _Optional[_Union[TermIndexProto, _Mapping]] = ...) -> None: ...
    SERVERREQUEST_FIELD_NUMBER: _ClassVar[int]
    LEADERTERM_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTCHUNK_FIELD_NUMBER: _ClassVar[int]
    NOTIFICATION_FIELD_NUMBER: _ClassVar[int]
    LASTRAFTCONFIGURATIONLOGENTRYPROTO_FIELD_NUMBER: _ClassVar[int]
    serverRequest: RaftRpcRequestProto
    leaderTerm: int
    snapshotChunk: InstallSnapshotRequestProto.SnapshotChunkProto
    notification: InstallSnapshotRequestProto.NotificationProto
    lastRaftConfigurationLogEntryProto: LogEntryProto
    def __init__(self, serverRequest: _Optional[_Union[RaftRpcRequestProto, _Mapping]] = ..., leaderTerm: _Optional[int] = ..., snapshotChunk: _Optional[_Union[InstallSnapshotRequestProto.SnapshotChunkProto, _Mapping]] = ..., notification: _Optional[_Union[InstallSnapshotRequestProto.NotificationProto, _Mapping]] = ..., lastRaftConfigurationLogEntryProto: _Optional[_Union[LogEntryProto, _Mapping]] = ...) -> None: ...

class InstallSnapshotReplyProto(_message.Message):
    __slots__ = ("serverReply", "term", "result", "requestIndex", "snapshotIndex")
    SERVERREPLY_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    REQUESTINDEX_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTINDEX_FIELD_NUMBER: _ClassVar[int]
    serverReply: RaftRpcReplyProto
    term: int
    result: InstallSnapshotResult
    requestIndex: int
    snapshotIndex: int
    def __init__(self, serverReply: _Optional[_Union[RaftRpcReplyProto, _Mapping]] = ..., term: _Optional[int] = ..., result: _Optional[_Union[InstallSnapshotResult, str]] = ..., requestIndex: _Optional[int] = ..., snapshotIndex: _Optional[int] = ...) -> None: ...

class StartLeaderElectionRequestProto(_message.Message):
    __slots__ = ("serverRequest", "leaderLastEntry")
    SERVERREQUEST_FIELD_NUMBER: _ClassVar[int]
    LEADERLASTENTRY_FIELD_NUMBER: _ClassVar[int]
    serverRequest: RaftRpcRequestProto
    leaderLastEntry: TermIndexProto
    def __init__(self, serverRequest: _Optional[_Union[RaftRpcRequestProto, _Mapping]] = ..., leaderLastEntry: _Optional[_Union[TermIndexProto, _Mapping]] = ...) -> None: ...

class StartLeaderElectionReplyProto(_message.Message):
    __slots__ = ("serverReply",)
    SERVERREPLY_FIELD_NUMBER: _ClassVar[int]
    serverReply: RaftRpcReplyProto
    def __init__(self, serverReply: _Optional[_Union[RaftRpcReplyProto, _Mapping]] = ...) -> None: ...

class ReadIndexRequestProto(_message.Message):
    __slots__ = ("serverRequest", "clientRequest")
    SERVERREQUEST_FIELD_NUMBER: _ClassVar[int]
    CLIENTREQUEST_FIELD_NUMBER: _ClassVar[int]
    serverRequest: RaftRpcRequestProto
    clientRequest: RaftClientRequestProto
    def __init__(self, serverRequest: _Optional[_Union[RaftRpcRequestProto, _Mapping]] = ..., clientRequest: _Optional[_Union[RaftClientRequestProto, _Mapping]] = ...) -> None: ...

class ReadIndexReplyProto(_message.Message):
    __slots__ = ("serverReply", "readIndex")
    SERVERREPLY_FIELD_NUMBER: _ClassVar[int]
    READINDEX_FIELD_NUMBER: _ClassVar[int]
    serverReply: RaftRpcReplyProto
    readIndex: int
    def __init__(self, serverReply: _Optional[_Union[RaftRpcReplyProto, _Mapping]] = ..., readIndex: _Optional[int] = ...) -> None: ...

class ClientMessageEntryProto(_message.Message):
    __slots__ = ("content",)
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    def __init__(self, content: _Optional[bytes] = ...) -> None: ...

class WriteRequestTypeProto(_message.Message):
    __slots__ = ("replication",)
    REPLICATION_FIELD_NUMBER: _ClassVar[int]
    replication: ReplicationLevel
    def __init__(self, replication: _Optional[_Union[ReplicationLevel, str]] = ...) -> None: ...

class MessageStreamRequestTypeProto(_message.Message):
    __slots__ = ("streamId", "messageId", "endOfRequest")
    STREAMID_FIELD_NUMBER: _ClassVar[int]
    MESSAGEID_FIELD_NUMBER: _ClassVar[int]
    ENDOFREQUEST_FIELD_NUMBER: _ClassVar[int]
    streamId: int
    messageId: int
    endOfRequest: bool
    def __init__(self, streamId: _Optional[int] = ..., messageId: _Optional[int] = ..., endOfRequest: _Optional[bool] = ...) -> None: ...

class DataStreamRequestTypeProto(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ForwardRequestTypeProto(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReadRequestTypeProto(_message.Message):
    __slots__ = ("preferNonLinearizable", "readAfterWriteConsistent", "dummy")
    PREFERNONLINEARIZABLE_FIELD_NUMBER: _ClassVar[int]
    READAFTERWRITECONSISTENT_FIELD_NUMBER: _ClassVar[int]
    DUMMY_FIELD_NUMBER: _ClassVar[int]
    preferNonLinearizable: bool
    readAfterWriteConsistent: bool
    dummy: bool
    def __init__(self, preferNonLinearizable: _Optional[bool] = ..., readAfterWriteConsistent: _Optional[bool] = ..., dummy: _Optional[bool] = ...) -> None: ...

class StaleReadRequestTypeProto(_message.Message):
    __slots__ = ("minIndex",)
    MININDEX_FIELD_NUMBER: _ClassVar[int]
    minIndex: int
    def __init__(self, minIndex: _Optional[int] = ...) -> None: ...

class WatchRequestTypeProto(_message.Message):
    __slots__ = ("index", "replication")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REPLICATION_FIELD_NUMBER: _ClassVar[int]
    index: int
    replication: ReplicationLevel
    def __init__(self, index: _Optional[int] = ..., replication: _Optional[_Union[ReplicationLevel, str]] = ...) -> None: ...

class RaftClientRequestProto(_message.Message):
    __slots__ = ("rpcRequest", "message", "write", "read", "staleRead", "watch", "messageStream", "dataStream", "forward")
    RPCREQUEST_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    WRITE_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    STALEREAD_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    MESSAGESTREAM_FIELD_NUMBER: _ClassVar[int]
    DATASTREAM_FIELD_NUMBER: _ClassVar[int]
    FORWARD_FIELD_NUMBER: _ClassVar[int]
    rpcRequest: RaftRpcRequestProto
    message: ClientMessageEntryProto
    write: WriteRequestTypeProto
    read: ReadRequestTypeProto
    staleRead: StaleReadRequestTypeProto
    watch: WatchRequestTypeProto
    messageStream: MessageStreamRequestTypeProto
    dataStream: DataStreamRequestTypeProto
    forward: ForwardRequestTypeProto
    def __init__(self, rpcRequest: _Optional[_Union[RaftRpcRequestProto, _Mapping]] = ..., message: _Optional[_Union[ClientMessageEntryProto, _Mapping]] = ..., write: _Optional[_Union[WriteRequestTypeProto, _Mapping]] = ..., read: _Optional[_Union[ReadRequestTypeProto, _Mapping]] = ..., staleRead: _Optional[_Union[StaleReadRequestTypeProto, _Mapping]] = ..., watch: _Optional[_Union[WatchRequestTypeProto, _Mapping]] = ..., messageStream: _Optional[_Union[MessageStreamRequestTypeProto, _Mapping]] = ..., dataStream: _Optional[_Union[DataStreamRequestTypeProto, _Mapping]] = ..., forward: _Optional[_Union[ForwardRequestTypeProto, _Mapping]] = ...) -> None: ...

class NotLeaderExceptionProto(_message.Message):
    __slots__ = ("suggestedLeader", "peersInConf")
    SUGGESTEDLEADER_FIELD_NUMBER: _ClassVar[int]
    PEERSINCONF_FIELD_NUMBER: _ClassVar[int]
    suggestedLeader: RaftPeerProto
    peersInConf: _containers.RepeatedCompositeFieldContainer[RaftPeerProto]
    def __init__(self, suggestedLeader: _Optional[_Union[RaftPeerProto, _Mapping]] = ..., peersInConf: _Optional[_Iterable[_Union[RaftPeerProto, _Mapping]]] = ...) -> None: ...

class LeaderNotReadyExceptionProto(_message.Message):
    __slots__ = ("serverId",)
    SERVERID_FIELD_NUMBER: _ClassVar[int]
    serverId: RaftGroupMemberIdProto
    def __init__(self, serverId: _Optional[_Union[RaftGroupMemberIdProto, _Mapping]] = ...) -> None: ...

class NotReplicatedExceptionProto(_message.Message):
    __slots__ = ("callId", "replication", "logIndex")
    CALLID_FIELD_NUMBER: _ClassVar[int]
    REPLICATION_FIELD_NUMBER: _ClassVar[int]
    LOGINDEX_FIELD_NUMBER: _ClassVar[int]
    callId: int
    replication: ReplicationLevel
    logIndex: int
    def __init__(self, callId: _Optional[int] = ..., replication: _Optional[_Union[ReplicationLevel, str]] = ..., logIndex: _Optional[int] = ...) -> None: ...

class StateMachineExceptionProto(_message.Message):
    __slots__ = ("exceptionClassName", "errorMsg", "stacktrace")
    EXCEPTIONCLASSNAME_FIELD_NUMBER: _ClassVar[int]
    ERRORMSG_FIELD_NUMBER: _ClassVar[int]
    STACKTRACE_FIELD_NUMBER: _ClassVar[int]
    exceptionClassName: str
    errorMsg: str
    stacktrace: bytes
    def __init__(self, exceptionClassName: _Optional[str] = ..., errorMsg: _Optional[str] = ..., stacktrace: _Optional[bytes] = ...) -> None: ...

class AlreadyClosedExceptionProto(_message.Message):
    __slots__ = ("exceptionClassName", "errorMsg", "stacktrace")
    EXCEPTIONCLASSNAME_FIELD_NUMBER: _ClassVar[int]
    ERRORMSG_FIELD_NUMBER: _ClassVar[int]
    STACKTRACE_FIELD_NUMBER: _ClassVar[int]
    exceptionClassName: str
    errorMsg: str
    stacktrace: bytes
    def __init__(self, exceptionClassName: _Optional[str] = ..., errorMsg: _Optional[str] = ..., stacktrace: _Optional[bytes] = ...) -> None: ...

class ThrowableProto(_message.Message):
    __slots__ = ("className", "errorMessage", "stackTrace", "cause")
    CLASSNAME_FIELD_NUMBER: _ClassVar[int]
    ERRORMESSAGE_FIELD_NUMBER: _ClassVar[int]
    STACKTRACE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    className: str
    errorMessage: str
    stackTrace: bytes
    cause: bytes
    def __init__(self, className: _Optional[str] = ..., errorMessage: _Optional[str] = ..., stackTrace: _Optional[bytes] = ..., cause: _Optional[bytes] = ...) -> None: ...

class RaftClientReplyProto(_message.Message):
    __slots__ = ("rpcReply", "message", "notLeaderException", "notReplicatedException", "stateMachineException", "leaderNotReadyException", "alreadyClosedException", "dataStreamException", "leaderSteppingDownException", "transferLeadershipException", "readException", "readIndexException", "logIndex", "commitInfos")
    RPCREPLY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NOTLEADEREXCEPTION_FIELD_NUMBER: _ClassVar[int]
    NOTREPLICATEDEXCEPTION_FIELD_NUMBER: _ClassVar[int]
    STATEMACHINEEXCEPTION_FIELD_NUMBER: _ClassVar[int]
    LEADERNOTREADYEXCEPTION_FIELD_NUMBER: _ClassVar[int]
    ALREADYCLOSEDEXCEPTION_FIELD_NUMBER: _ClassVar[int]
    DATASTREAMEXCEPTION_FIELD_NUMBER: _ClassVar[int]
    LEADERSTEPPINGDOWNEXCEPTION_FIELD_NUMBER: _ClassVar[int]
    TRANSFERLEADERSHIPEXCEPTION_FIELD_NUMBER: _ClassVar[int]
    READEXCEPTION_FIELD_NUMBER: _ClassVar[int]
    READINDEXEXCEPTION_FIELD_NUMBER: _ClassVar[int]
    LOGINDEX_FIELD_NUMBER: _ClassVar[int]
    COMMITINFOS_FIELD_NUMBER: _ClassVar[int]
    rpcReply: RaftRpcReplyProto
    message: ClientMessageEntryProto
    notLeaderException: NotLeaderExceptionProto
    notReplicatedException: NotReplicatedExceptionProto
    stateMachineException: StateMachineExceptionProto
    leaderNotReadyException: LeaderNotReadyExceptionProto
    alreadyClosedException: AlreadyClosedExceptionProto
    dataStreamException: ThrowableProto
    leaderSteppingDownException: ThrowableProto
    transferLeadershipException: ThrowableProto
    readException: ThrowableProto
    readIndexException: ThrowableProto
    logIndex: int
    commitInfos: _containers.RepeatedCompositeFieldContainer[CommitInfoProto]
    def __init__(self, rpcReply: _Optional[_Union[RaftRpcReplyProto, _Mapping]] = ..., message: _Optional[_Union[ClientMessageEntryProto, _Mapping]] = ..., notLeaderException: _Optional[_Union[NotLeaderExceptionProto, _Mapping]] = ..., notReplicatedException: _Optional[_Union[NotReplicatedExceptionProto, _Mapping]] = ..., stateMachineException: _Optional[_Union[StateMachineExceptionProto, _Mapping]] = ..., leaderNotReadyException: _Optional[_Union[LeaderNotReadyExceptionProto, _Mapping]] = ..., alreadyClosedException: _Optional[_Union[AlreadyClosedExceptionProto, _Mapping]] = ..., dataStreamException: _Optional[_Union[ThrowableProto, _Mapping]] = ..., leaderSteppingDownException: _Optional[_Union[ThrowableProto, _Mapping]] = ..., transferLeadershipException: _Optional[_Union[ThrowableProto, _Mapping]] = ..., readException: _Optional[_Union[ThrowableProto, _Mapping]] = ..., readIndexException: _Optional[_Union[ThrowableProto, _Mapping]] = ..., logIndex: _Optional[int] = ..., commitInfos: _Optional[_Iterable[_Union[CommitInfoProto, _Mapping]]] = ...) -> None: ...

class SetConfigurationRequestProto(_message.Message):
    __slots__ = ("rpcRequest", "peers", "listeners", "mode", "currentPeers", "currentListeners")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SET_UNCONDITIONALLY: _ClassVar[SetConfigurationRequestProto.Mode]
        ADD: _ClassVar[SetConfigurationRequestProto.Mode]
        COMPARE_AND_SET: _ClassVar[SetConfigurationRequestProto.Mode]
    SET_UNCONDITIONALLY: SetConfigurationRequestProto.Mode
    ADD: SetConfigurationRequestProto.Mode
    COMPARE_AND_SET: SetConfigurationRequestProto.Mode
    RPCREQUEST_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    LISTENERS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    CURRENTPEERS_FIELD_NUMBER: _ClassVar[int]
    CURRENTLISTENERS_FIELD_NUMBER: _ClassVar[int]
    rpcRequest: RaftRpcRequestProto
    peers: _containers.RepeatedCompositeFieldContainer[RaftPeerProto]
    listeners: _containers.RepeatedCompositeFieldContainer[RaftPeerProto]
    mode: SetConfigurationRequestProto.Mode
    currentPeers: _containers.RepeatedCompositeFieldContainer[RaftPeerProto]
    currentListeners: _containers.RepeatedCompositeFieldContainer[RaftPeerProto]
    def __init__(self, rpcRequest: _Optional[_Union[RaftRpcRequestProto, _Mapping]] = ..., peers: _Optional[_Iterable[_Union[RaftPeerProto, _Mapping]]] = ..., listeners: _Optional[_Iterable[_Union[RaftPeerProto, _Mapping]]] = ..., mode: _Optional[_Union[SetConfigurationRequestProto.Mode, str]] = ..., currentPeers: _Optional[_Iterable[_Union[RaftPeerProto, _Mapping]]] = ..., currentListeners: _Optional[_Iterable[_Union[RaftPeerProto, _Mapping]]] = ...) -> None: ...

class TransferLeadershipRequestProto(_message.Message):
    __slots__ = ("rpcRequest", "newLeader")
    RPCREQUEST_FIELD_NUMBER: _ClassVar[int]
    NEWLEADER_FIELD_NUMBER: _ClassVar[int]
    rpcRequest: RaftRpcRequestProto
    newLeader: RaftPeerProto
    def __init__(self, rpcRequest: _Optional[_Union[RaftRpcRequestProto, _Mapping]] = ..., newLeader: _Optional[_Union[RaftPeerProto, _Mapping]] = ...) -> None: ...

class LeaderElectionPauseRequestProto(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LeaderElectionResumeRequestProto(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LeaderElectionManagementRequestProto(_message.Message):
    __slots__ = ("rpcRequest", "pause", "resume")
    RPCREQUEST_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    rpcRequest: RaftRpcRequestProto
    pause: LeaderElectionPauseRequestProto
    resume: LeaderElectionResumeRequestProto
    def __init__(self, rpcRequest: _Optional[_Union[RaftRpcRequestProto, _Mapping]] = ..., pause: _Optional[_Union[LeaderElectionPauseRequestProto, _Mapping]] = ..., resume: _Optional[_Union[LeaderElectionResumeRequestProto, _Mapping]] = ...) -> None: ...

class SnapshotCreateRequestProto(_message.Message):
    __slots__ = ("creationGap",)
    CREATIONGAP_FIELD_NUMBER: _ClassVar[int]
    creationGap: int
    def __init__(self, creationGap: _Optional[int] = ...) -> None: ...

class SnapshotManagementRequestProto(_message.Message):
    __slots__ = ("rpcRequest", "create")
    RPCREQUEST_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    rpcRequest: RaftRpcRequestProto
    create: SnapshotCreateRequestProto
    def __init__(self, rpcRequest: _Optional[_Union[RaftRpcRequestProto, _Mapping]] = ..., create: _Optional[_Union[SnapshotCreateRequestProto, _Mapping]] = ...) -> None: ...

class GroupAddRequestProto(_message.Message):
    __slots__ = ("group", "format")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    group: RaftGroupProto
    format: bool
    def __init__(self, group: _Optional[_Union[RaftGroupProto, _Mapping]] = ..., format: _Optional[bool] = ...) -> None: ...

class GroupRemoveRequestProto(_message.Message):
    __slots__ = ("groupId", "deleteDirectory", "renameDirectory")
    GROUPID_FIELD_NUMBER: _ClassVar[int]
    DELETEDIRECTORY_FIELD_NUMBER: _ClassVar[int]
    RENAMEDIRECTORY_FIELD_NUMBER: _ClassVar[int]
    groupId: RaftGroupIdProto
    deleteDirectory: bool
    renameDirectory: bool
    def __init__(self, groupId: _Optional[_Union[RaftGroupIdProto, _Mapping]] = ..., deleteDirectory: _Optional[bool] = ..., renameDirectory: _Optional[bool] = ...) -> None: ...

class GroupManagementRequestProto(_message.Message):
    __slots__ = ("rpcRequest", "groupAdd", "groupRemove")
    RPCREQUEST_FIELD_NUMBER: _ClassVar[int]
    GROUPADD_FIELD_NUMBER: _ClassVar[int]
    GROUPREMOVE_FIELD_NUMBER: _ClassVar[int]
    rpcRequest: RaftRpcRequestProto
    groupAdd: GroupAddRequestProto
    groupRemove: GroupRemoveRequestProto
    def __init__(self, rpcRequest: _Optional[_Union[RaftRpcRequestProto, _Mapping]] = ..., groupAdd: _Optional[_Union[GroupAddRequestProto, _Mapping]] = ..., groupRemove: _Optional[_Union[GroupRemoveRequestProto, _Mapping]] = ...) -> None: ...

class GroupListRequestProto(_message.Message):
    __slots__ = ("rpcRequest",)
    RPCREQUEST_FIELD_NUMBER: _ClassVar[int]
    rpcRequest: RaftRpcRequestProto
    def __init__(self, rpcRequest: _Optional[_Union[RaftRpcRequestProto, _Mapping]] = ...) -> None: ...

class GroupListReplyProto(_message.Message):
    __slots__ = ("rpcReply", "groupId")
    RPCREPLY_FIELD_NUMBER: _ClassVar[int]
    GROUPID_FIELD_NUMBER: _ClassVar[int]
    rpcReply: RaftRpcReplyProto
    groupId: _containers.RepeatedCompositeFieldContainer[RaftGroupIdProto]
    def __init__(self, rpcReply: _Optional[_Union[RaftRpcReplyProto, _Mapping]] = ..., groupId: _Optional[_Iterable[_Union[RaftGroupIdProto, _Mapping]]] = ...) -> None: ...

class GroupInfoRequestProto(_message.Message):
    __slots__ = ("rpcRequest", "groupId")
    RPCREQUEST_FIELD_NUMBER: _ClassVar[int]
    GROUPID_FIELD_NUMBER: _ClassVar[int]
    rpcRequest: RaftRpcRequestProto
    groupId: RaftGroupIdProto
    def __init__(self, rpcRequest: _Optional[_Union[RaftRpcRequestProto, _Mapping]] = ..., groupId: _Optional[_Union[RaftGroupIdProto, _Mapping]] = ...) -> None: ...

class ServerRpcProto(_message.Message):
    __slots__ = ("id", "lastRpcElapsedTimeMs")
    ID_FIELD_NUMBER: _ClassVar[int]
    LASTRPCELAPSEDTIMEMS_FIELD_NUMBER: _ClassVar[int]
    id: RaftPeerProto
    lastRpcElapsedTimeMs: int
    def __init__(self, id: _Optional[_Union[RaftPeerProto, _Mapping]] = ..., lastRpcElapsedTimeMs: _Optional[int] = ...) -> None: ...

class LeaderInfoProto(_message.Message):
    __slots__ = ("followerInfo", "term")
    FOLLOWERINFO_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    followerInfo: _containers.RepeatedCompositeFieldContainer[ServerRpcProto]
    term: int
    def __init__(self, followerInfo: _Optional[_Iterable[_Union[ServerRpcProto, _Mapping]]] = ..., term: _Optional[int] = ...) -> None: ...

class FollowerInfoProto(_message.Message):
    __slots__ = ("leaderInfo", "outstandingOp")
    LEADERINFO_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDINGOP_FIELD_NUMBER: _ClassVar[int]
    leaderInfo: ServerRpcProto
    outstandingOp: int
    def __init__(self, leaderInfo: _Optional[_Union[ServerRpcProto, _Mapping]] = ..., outstandingOp: _Optional[int] = ...) -> None: ...

class CandidateInfoProto(_message.Message):
    __slots__ = ("lastLeaderElapsedTimeMs",)
    LASTLEADERELAPSEDTIMEMS_FIELD_NUMBER: _ClassVar[int]
    lastLeaderElapsedTimeMs: int
    def __init__(self, lastLeaderElapsedTimeMs: _Optional[int] = ...) -> None: ...

class RoleInfoProto(_message.Message):
    __slots__ = ("self", "role", "roleElapsedTimeMs", "leaderInfo", "followerInfo", "candidateInfo")
    SELF_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ROLEELAPSEDTIMEMS_FIELD_NUMBER: _ClassVar[int]
    LEADERINFO_FIELD_NUMBER: _ClassVar[int]
    FOLLOWERINFO_FIELD_NUMBER: _ClassVar[int]
    CANDIDATEINFO_FIELD_NUMBER: _ClassVar[int]
    self: RaftPeerProto
    role: RaftPeerRole
    roleElapsedTimeMs: int
    leaderInfo: LeaderInfoProto
    followerInfo: FollowerInfoProto
    candidateInfo: CandidateInfoProto
    def __init__(self_, self: _Optional[_Union[RaftPeerProto, _Mapping]] = ..., role: _Optional[_Union[RaftPeerRole, str]] = ..., roleElapsedTimeMs: _Optional[int] = ..., leaderInfo: _Optional[_Union[LeaderInfoProto, _Mapping]] = ..., followerInfo: _Optional[_Union[FollowerInfoProto, _Mapping]] = ..., candidateInfo: _Optional[_Union[CandidateInfoProto, _Mapping]] = ...) -> None: ...

class LogInfoProto(_message.Message):
    __slots__ = ("lastSnapshot", "applied", "committed", "lastEntry")
    LASTSNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    LASTENTRY_FIELD_NUMBER: _ClassVar[int]
    lastSnapshot: TermIndexProto
    applied: TermIndexProto
    committed: TermIndexProto
    lastEntry: TermIndexProto
    def __init__(self, lastSnapshot: _Optional[_Union[TermIndexProto, _Mapping]] = ..., applied: _Optional[_Union[TermIndexProto, _Mapping]] = ..., committed: _Optional[_Union[TermIndexProto, _Mapping]] = ..., lastEntry: _Optional[_Union[TermIndexProto, _Mapping]] = ...) -> None: ...

class GroupInfoReplyProto(_message.Message):
    __slots__ = ("rpcReply", "group", "role", "isRaftStorageHealthy", "commitInfos", "conf", "logInfo")
    RPCREPLY_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ISRAFTSTORAGEHEALTHY_FIELD_NUMBER: _ClassVar[int]
    COMMITINFOS_FIELD_NUMBER: _ClassVar[int]
    CONF_FIELD_NUMBER: _ClassVar[int]
    LOGINFO_FIELD_NUMBER: _ClassVar[int]
    rpcReply: RaftRpcReplyProto
    group: RaftGroupProto
    role: RoleInfoProto
    isRaftStorageHealthy: bool
    commitInfos: _containers.RepeatedCompositeFieldContainer[CommitInfoProto]
    conf: RaftConfigurationProto
    logInfo: LogInfoProto
    def __init__(self, rpcReply: _Optional[_Union[RaftRpcReplyProto, _Mapping]] = ..., group: _Optional[_Union[RaftGroupProto, _Mapping]] = ..., role: _Optional[_Union[RoleInfoProto, _Mapping]] = ..., isRaftStorageHealthy: _Optional[bool] = ..., commitInfos: _Optional[_Iterable[_Union[CommitInfoProto, _Mapping]]] = ..., conf: _Optional[_Union[RaftConfigurationProto, _Mapping]] = ..., logInfo: _Optional[_Union[LogInfoProto, _Mapping]] = ...) -> None: ...
