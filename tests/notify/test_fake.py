"""The stand-in is as strict as Twilio's own description, and says what Twilio would say."""

from datetime import UTC, datetime

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from tests.fakes.twilio import (
    ACCOUNT_SID,
    AUTH_TOKEN,
    SENDER,
    SERVICE_SID,
    FakeTwilio,
    segments,
)
from tests.fakes.twilio_openapi import Spec, excerpt, load, whole_document

NUMBER = "+8613800000001"


@pytest.fixture
def client(twilio):
    made = Client(ACCOUNT_SID, AUTH_TOKEN)
    made.api.base_url = twilio.url
    return made


def create(client, **more):
    fields = {"to": NUMBER, "from_": SENDER, "body": "hello", **more}
    return client.messages.create(**{name: value for name, value in fields.items() if value is not None})


def documents():
    """Give Twilio's description: always the excerpt, and the whole where it is at hand."""
    whole = whole_document()
    return [load()] if whole is None else [load(), load(whole)]


def test_the_excerpt_is_what_twilio_says():
    for document in documents():
        assert excerpt(document) == load()


def test_the_stand_in_takes_and_gives_the_fields_that_twilio_names(twilio, client):
    create(client)
    answer = twilio.message_json(twilio.texts[0], twilio.clock())
    for document in documents():
        spec = Spec(document)
        assert set(twilio.spec.create_fields()) == set(spec.create_fields())
        assert twilio.spec.create_required() == spec.create_required() == ["To"]
        assert set(twilio.spec.list_fields()) == set(spec.list_fields())
        assert set(answer) == set(spec.message_fields())
        assert [
            (name, fault)
            for name, value in answer.items()
            if (fault := spec.fault_of(value, spec.message_fields()[name]))
        ] == []


def test_the_list_and_the_balance_have_the_fields_that_twilio_names(twilio, client):
    create(client)
    page = client.messages.page(to=NUMBER)
    balance = client.balance.fetch()
    for document in documents():
        spec = Spec(document)
        assert set(page._payload) == spec.list_answer()
        assert {"account_sid", "balance", "currency"} == set(spec.balance_fields())
    assert (balance.balance, balance.currency) == ("12.34", "USD")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"to": None}, None),
        ({"to": "13800000001"}, 21211),
        ({"to": "+0123456789"}, 21211),
        ({"to": "nonsense"}, 21211),
        ({"from_": None}, 21603),
        ({"messaging_service_sid": SERVICE_SID}, 21603),
        ({"from_": "+15005550001"}, 21606),
        ({"from_": "0123"}, 21212),
        ({"from_": None, "messaging_service_sid": "MG" + "9" * 32}, 21701),
        ({"from_": None, "messaging_service_sid": "nonsense"}, 20001),
        ({"body": None}, 21602),
        ({"body": ""}, 21602),
        ({"body": "x" * 1_601}, 21617),
        ({"validity_period": 0}, 90007),
        ({"validity_period": 36_001}, 90007),
        ({"validity_period": "soon"}, 20001),
        ({"smart_encoded": "perhaps"}, 20001),
        ({"risk_check": "perhaps"}, 20001),
    ],
)
def test_what_twilio_would_refuse_is_refused(twilio, client, fields, code):
    with pytest.raises((TwilioRestException, TypeError)) as caught:
        create(client, **fields)
    if code is not None:
        assert (caught.value.status, caught.value.code) == (400, code)
    assert twilio.texts == []


def test_a_stranger_is_refused(twilio):
    for user, password in ((ACCOUNT_SID, "wrong"), ("AC" + "9" * 32, AUTH_TOKEN)):
        client = Client(user, password, ACCOUNT_SID)
        client.api.base_url = twilio.url
        with pytest.raises(TwilioRestException) as caught:
            create(client)
        assert (caught.value.status, caught.value.code) == (401, 20003)


def test_another_account_is_not_found(twilio):
    client = Client(ACCOUNT_SID, AUTH_TOKEN, "AC" + "9" * 32)
    client.api.base_url = twilio.url
    with pytest.raises(TwilioRestException) as caught:
        create(client)
    assert (caught.value.status, caught.value.code) == (404, 20404)


def test_a_text_goes_through_its_life(twilio, client, clock):
    sid = create(client).sid
    seen = []
    for _ in range(7):
        seen.append(client.messages(sid).fetch().status)
        clock.at += 1_000
    assert seen == ["queued", "sending", "sent", "sent", "sent", "delivered", "delivered"]


def test_a_service_chooses_its_sender_later(twilio, client, clock):
    made = create(client, from_=None, messaging_service_sid=SERVICE_SID)
    assert (made.from_, made.num_segments) == (None, "1")


def test_a_number_sends_one_segment_a_second_and_gives_up_after_the_validity(twilio, client, clock):
    sids = [create(client, validity_period=2).sid for _ in range(5)]
    clock.at += 10_000
    assert [client.messages(sid).fetch().status for sid in sids] == ["delivered"] * 3 + ["failed"] * 2
    assert client.messages(sids[-1]).fetch().error_code == 30036


def test_the_list_is_newest_first_in_pages_and_lags(twilio, client, clock):
    twilio.list_lag = 5_000
    for number in range(7):
        create(client, body=f"text {number}")
    create(client, to="+8613800000002")
    assert client.messages.list(to=NUMBER) == []

    clock.at += 5_000
    listed = client.messages.list(to=NUMBER, page_size=3)
    assert [one.body for one in listed] == [f"text {number}" for number in range(6, -1, -1)]
    assert len(client.messages.list(from_=SENDER)) == 8
    assert len(twilio.gets()) == 1 + 3 + 1


def test_the_filter_by_date_hides_what_is_not_sent_yet(twilio, client, clock):
    create(client)
    day = datetime.fromtimestamp(clock.at / 1_000, UTC)
    assert client.messages.list(date_sent=day) == []
    clock.at += 5_000
    assert len(client.messages.list(date_sent=day)) == 1
    assert client.messages.list(date_sent_before=datetime(2020, 1, 1, tzinfo=UTC)) == []


def test_without_a_clock_it_runs_on_the_wall(client):
    with FakeTwilio() as twilio:
        assert twilio.clock() > 1_700_000_000_000


@pytest.mark.parametrize(
    ("body", "count"), [("a" * 160, 1), ("a" * 161, 2), ("看" * 70, 1), ("看" * 71, 2), ("[" * 81, 2)]
)
def test_segments_are_counted(body, count):
    assert segments(body) == count
