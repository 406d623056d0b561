"""Where the simulated server is known to differ from the real one: at most eight cases, each with its reason.

Each has the raw record of the real server, so that the next owner need not run it to see what is missing. A case that
is listed here and does not differ fails: the list would be out of date.
"""

from __future__ import annotations

import attrs

EXCEPTIONS_MAX = 8


@attrs.frozen
class KnownDifference:
    """One case whose two records differ.

    Attributes:
        case: its name.
        reason: why the simulated server does not do it.
        real: the real server's record, as the test prints it.
    """

    case: str
    reason: str
    real: str


# The records below are long lines by nature.
# ruff: noqa: E501
EXCEPTIONS: tuple[KnownDifference, ...] = (
    KnownDifference(
        case="who listens to the system hears of a refusal",
        reason="advisories of the system account are a matter of operators; the simulation has no system account",
        real=(
            'a < b\'INFO {"server_id":"NCSOCJNB7T7U6SGGZYFTOTEUQI2BY5HPC7IWIA7F4HPRS7GYKI4US7NF","server_name":"NCSOCJNB7T7U6SGGZYFTOTEUQI2BY5HPC7IWIA7F4HPRS7GYKI4US7NF","version":"2.15.1","proto":1,"git_commit":"b2fd3ef","go":"go1.27.2","host":"127.0.0.1","port":24628,"headers":true,"auth_required":true,"max_payload":1048576,"client_id":6,"client_ip":"127.0.0.1","api_lvl":5,"xkey":"XBTVPP67F6EL3IINCX7VRW55KGZONDN4UDRYHO3FF4PQSR6VWZNCL6IZ"} \\r\\n\'\n'
            "a < b'PONG\\r\\n'\n"
            'a < b\'INFO {"server_id":"NCSOCJNB7T7U6SGGZYFTOTEUQI2BY5HPC7IWIA7F4HPRS7GYKI4US7NF","server_name":"NCSOCJNB7T7U6SGGZYFTOTEUQI2BY5HPC7IWIA7F4HPRS7GYKI4US7NF","version":"2.15.1","proto":1,"git_commit":"b2fd3ef","go":"go1.27.2","host":"127.0.0.1","port":24628,"headers":true,"auth_required":true,"max_payload":1048576,"client_id":6,"client_ip":"127.0.0.1","connect_info":true,"remote_account":"$G","api_lvl":5,"xkey":"XBTVPP67F6EL3IINCX7VRW55KGZONDN4UDRYHO3FF4PQSR6VWZNCL6IZ"} \\r\\n\'\n'
            "a < b'PONG\\r\\n'\n"
            'a < b\'MSG $SYS.ACCOUNT.CLIENT.AUTH.ERR 1  842\\r\\n{"type":"io.nats.server.advisory.v1.client_disconnect","id":"ojMUzNgVafSuN1yP7vM8kh","timestamp":"2026-11-23T17:29:47.448416577Z","server":{"name":"NCSOCJNB7T7U6SGGZYFTOTEUQI2BY5HPC7IWIA7F4HPRS7GYKI4US7NF","host":"127.0.0.1","id":"NCSOCJNB7T7U6SGGZYFTOTEUQI2BY5HPC7IWIA7F4HPRS7GYKI4US7NF","ver":"2.15.1","feature_flags":{"js_ack_fc_v2":false,"js_api_reply_v2":false,"js_raft_delete_range":true,"js_snapshot_sources":false},"jetstream":false,"flags":0,"seq":10,"time":"2026-11-23T17:29:47.448509445Z"},"client":{"start":"2026-11-23T17:29:47.447358559Z","host":"127.0.0.1","id":7,"acc":"$G","user":"eve","name":"raw","lang":"bytes","ver":"1","rtt":1007973,"stop":"2026-11-23T17:29:47.448416577Z","name_tag":"$G","kind":"Client","client_type":"nats"},"sent":{"msgs":0,"bytes":0},"received":{"msgs":0,"bytes":0},"reason":"Authentication Failure"}\\r\\n\'\n'
            "a < b'PONG\\r\\n'\n"
            "a : open\n"
            'b < b\'INFO {"server_id":"NCSOCJNB7T7U6SGGZYFTOTEUQI2BY5HPC7IWIA7F4HPRS7GYKI4US7NF","server_name":"NCSOCJNB7T7U6SGGZYFTOTEUQI2BY5HPC7IWIA7F4HPRS7GYKI4US7NF","version":"2.15.1","proto":1,"git_commit":"b2fd3ef","go":"go1.27.2","host":"127.0.0.1","port":24628,"headers":true,"auth_required":true,"max_payload":1048576,"client_id":7,"client_ip":"127.0.0.1","api_lvl":5,"xkey":"XBTVPP67F6EL3IINCX7VRW55KGZONDN4UDRYHO3FF4PQSR6VWZNCL6IZ"} \\r\\n\'\n'
            "b < b\"-ERR 'Authorization Violation'\\r\\n\"\n"
            "b : fin\n"
        ),
    ),
    KnownDifference(
        case="how many are here",
        reason="the monitoring services of the system account (PING.CONNZ, PING.STATZ, ...) are a matter of operators; the simulation has no system account",
        real=(
            'a < b\'INFO {"server_id":"NCARCUHLS2DB2Z4MFGZWZU5F3KO5IS2WFTRBLNYHF5ZMMZU5WOKXVQTC","server_name":"NCARCUHLS2DB2Z4MFGZWZU5F3KO5IS2WFTRBLNYHF5ZMMZU5WOKXVQTC","version":"2.15.1","proto":1,"git_commit":"b2fd3ef","go":"go1.27.2","host":"127.0.0.1","port":24629,"headers":true,"max_payload":1048576,"client_id":6,"client_ip":"127.0.0.1","api_lvl":5,"xkey":"XANNZVPQFHSPKSUQWFVQFZT2BY6NN46G7X5I4A6H5F5A3PPJE33HNMWI"} \\r\\n\'\n'
            "a < b'PONG\\r\\n'\n"
            'a < b\'INFO {"server_id":"NCARCUHLS2DB2Z4MFGZWZU5F3KO5IS2WFTRBLNYHF5ZMMZU5WOKXVQTC","server_name":"NCARCUHLS2DB2Z4MFGZWZU5F3KO5IS2WFTRBLNYHF5ZMMZU5WOKXVQTC","version":"2.15.1","proto":1,"git_commit":"b2fd3ef","go":"go1.27.2","host":"127.0.0.1","port":24629,"headers":true,"max_payload":1048576,"client_id":6,"client_ip":"127.0.0.1","connect_info":true,"remote_account":"$G","api_lvl":5,"xkey":"XANNZVPQFHSPKSUQWFVQFZT2BY6NN46G7X5I4A6H5F5A3PPJE33HNMWI"} \\r\\n\'\n'
            'a < b\'MSG own.n 1 857\\r\\n{"server":{"name":"NCARCUHLS2DB2Z4MFGZWZU5F3KO5IS2WFTRBLNYHF5ZMMZU5WOKXVQTC","host":"127.0.0.1","id":"NCARCUHLS2DB2Z4MFGZWZU5F3KO5IS2WFTRBLNYHF5ZMMZU5WOKXVQTC","ver":"2.15.1","feature_flags":{"js_ack_fc_v2":false,"js_api_reply_v2":false,"js_raft_delete_range":true,"js_snapshot_sources":false},"jetstream":false,"flags":0,"seq":10,"time":"2026-11-23T17:29:47.438023525Z"},"data":{"server_id":"NCARCUHLS2DB2Z4MFGZWZU5F3KO5IS2WFTRBLNYHF5ZMMZU5WOKXVQTC","now":"2026-11-23T17:29:47.437982384Z","account_statz":[{"acc":"$G","name":"$G","conns":1,"leafnodes":0,"total_conns":1,"num_subscriptions":5,"sent":{"msgs":0,"bytes":0,"gateways":{"msgs":0,"bytes":0},"routes":{"msgs":0,"bytes":0},"leafs":{"msgs":0,"bytes":0}},"received":{"msgs":1,"bytes":0,"gateways":{"msgs":0,"bytes":0},"routes":{"msgs":0,"bytes":0},"leafs":{"msgs":0,"bytes":0}},"slow_consumers":0}]}}\\r\\n\'\n'
            "a < b'PONG\\r\\n'\n"
            "a : open\n"
        ),
    ),
    KnownDifference(
        case="who am i",
        reason="a service of the system account, which the simulation does not have; its answer depends on accounts, which it does not have either",
        real=(
            'a < b\'INFO {"server_id":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","server_name":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","version":"2.15.1","proto":1,"git_commit":"b2fd3ef","go":"go1.27.2","host":"127.0.0.1","port":24630,"headers":true,"max_payload":1048576,"client_id":6,"client_ip":"127.0.0.1","api_lvl":5,"xkey":"XB4BJ3IITSLH6NDVDWYDY2T6UXTXPABDUT3L73LKBU5FZOXXMEEHIXMM"} \\r\\n\'\n'
            "a < b'PONG\\r\\n'\n"
            'a < b\'INFO {"server_id":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","server_name":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","version":"2.15.1","proto":1,"git_commit":"b2fd3ef","go":"go1.27.2","host":"127.0.0.1","port":24630,"headers":true,"max_payload":1048576,"client_id":6,"client_ip":"127.0.0.1","connect_info":true,"remote_account":"$G","api_lvl":5,"xkey":"XB4BJ3IITSLH6NDVDWYDY2T6UXTXPABDUT3L73LKBU5FZOXXMEEHIXMM"} \\r\\n\'\n'
            "a < b'PONG\\r\\n'\n"
            'a < b\'MSG own.me 1 426\\r\\n{"server":{"name":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","host":"127.0.0.1","id":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","ver":"2.15.1","feature_flags":{"js_ack_fc_v2":false,"js_api_reply_v2":false,"js_raft_delete_range":true,"js_snapshot_sources":false},"jetstream":false,"flags":0,"seq":10,"time":"2026-11-23T17:29:47.471042397Z"},"data":{"user":"","account":"$G","account_name":"$G"}}\\r\\n\'\n'
            "a : open\n"
        ),
    ),
    KnownDifference(
        case="a traced message",
        reason="message tracing (ADR-41) reports on the inner life of the server, which the simulation does not have",
        real=(
            'a < b\'INFO {"server_id":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","server_name":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","version":"2.15.1","proto":1,"git_commit":"b2fd3ef","go":"go1.27.2","host":"127.0.0.1","port":24630,"headers":true,"max_payload":1048576,"client_id":7,"client_ip":"127.0.0.1","api_lvl":5,"xkey":"XB4BJ3IITSLH6NDVDWYDY2T6UXTXPABDUT3L73LKBU5FZOXXMEEHIXMM"} \\r\\n\'\n'
            "a < b'PONG\\r\\n'\n"
            'a < b\'INFO {"server_id":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","server_name":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","version":"2.15.1","proto":1,"git_commit":"b2fd3ef","go":"go1.27.2","host":"127.0.0.1","port":24630,"headers":true,"max_payload":1048576,"client_id":7,"client_ip":"127.0.0.1","connect_info":true,"remote_account":"$G","api_lvl":5,"xkey":"XB4BJ3IITSLH6NDVDWYDY2T6UXTXPABDUT3L73LKBU5FZOXXMEEHIXMM"} \\r\\n\'\n'
            "a < b'HMSG tr.a 1 38 39\\r\\nNATS/1.0\\r\\nNats-Trace-Dest: tr.dest\\r\\n\\r\\nx\\r\\n'\n"
            'a < b\'MSG tr.dest 2  651\\r\\n{"server":{"name":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","host":"127.0.0.1","id":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","ver":"2.15.1","feature_flags":{"js_ack_fc_v2":false,"js_api_reply_v2":false,"js_raft_delete_range":true,"js_snapshot_sources":false},"jetstream":false,"flags":0,"seq":13,"time":"2026-11-23T17:29:47.576495449Z"},"request":{"header":{"Nats-Trace-Dest":["tr.dest"]},"msgsize":39},"events":[{"type":"in","ts":"2026-11-23T17:29:47.576470802Z","kind":0,"cid":7,"name":"raw","acc":"$G","subj":"tr.a"},{"type":"eg","ts":"2026-11-23T17:29:47.576484733Z","kind":0,"cid":7,"name":"raw","sub":"tr.a"}]}\\r\\n\'\n'
            "a < b'PONG\\r\\n'\n"
            "a : open\n"
        ),
    ),
    KnownDifference(
        case="a message that is traced only",
        reason="as the case before",
        real=(
            'a < b\'INFO {"server_id":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","server_name":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","version":"2.15.1","proto":1,"git_commit":"b2fd3ef","go":"go1.27.2","host":"127.0.0.1","port":24630,"headers":true,"max_payload":1048576,"client_id":8,"client_ip":"127.0.0.1","api_lvl":5,"xkey":"XB4BJ3IITSLH6NDVDWYDY2T6UXTXPABDUT3L73LKBU5FZOXXMEEHIXMM"} \\r\\n\'\n'
            "a < b'PONG\\r\\n'\n"
            'a < b\'INFO {"server_id":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","server_name":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","version":"2.15.1","proto":1,"git_commit":"b2fd3ef","go":"go1.27.2","host":"127.0.0.1","port":24630,"headers":true,"max_payload":1048576,"client_id":8,"client_ip":"127.0.0.1","connect_info":true,"remote_account":"$G","api_lvl":5,"xkey":"XB4BJ3IITSLH6NDVDWYDY2T6UXTXPABDUT3L73LKBU5FZOXXMEEHIXMM"} \\r\\n\'\n'
            'a < b\'MSG tr.dest2 2  679\\r\\n{"server":{"name":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","host":"127.0.0.1","id":"NBXVP2KU4Q2PROBWV3DE2BLGCY4HTHCBVX5LL6IQG7LEP2KAQGIFRDPC","ver":"2.15.1","feature_flags":{"js_ack_fc_v2":false,"js_api_reply_v2":false,"js_raft_delete_range":true,"js_snapshot_sources":false},"jetstream":false,"flags":0,"seq":16,"time":"2026-11-23T17:29:47.682125365Z"},"request":{"header":{"Nats-Trace-Dest":["tr.dest2"],"Nats-Trace-Only":["true"]},"msgsize":63},"events":[{"type":"in","ts":"2026-11-23T17:29:47.682090042Z","kind":0,"cid":8,"name":"raw","acc":"$G","subj":"tr.b"},{"type":"eg","ts":"2026-11-23T17:29:47.682096211Z","kind":0,"cid":8,"name":"raw","sub":"tr.b"}]}\\r\\n\'\n'
            "a < b'PONG\\r\\n'\n"
            "a : open\n"
        ),
    ),
)
