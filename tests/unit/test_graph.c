/* SPDX-License-Identifier: Apache-2.0 */
/* What WhatsApp takes in a send, and how it refuses the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sync/kit/graph.h"
#include "sync/protocol/status.h"

#define CORPUS "tests/fixtures/corpus.jsonl.gz"

/* A request to +254 700 000 001 with this content. */
#define WHATSAPP "{'messaging_product':'whatsapp',"
#define TO(type, content) WHATSAPP "'to':'254700000001','type':'" type "'," content "}"
#define INTERACTIVE(content) TO("interactive", "'interactive':{" content "}")
#define BUTTON(id, title) "{'type':'reply','reply':{'id':'" id "','title':'" title "'}}"
#define BUTTONS(list) INTERACTIVE("'type':'button','body':{'text':'?'},'action':{'buttons':[" list "]}")
#define ROW(id) "{'id':'" id "','title':'t'}"
#define SIX_ROWS ROW("1") "," ROW("2") "," ROW("3") "," ROW("4") "," ROW("5") "," ROW("6")
#define LIST(sections) \
    INTERACTIVE("'type':'list','body':{'text':'?'},'action':{'button':'b','sections':[" sections "]}")
#define FLOW(parameters) \
    INTERACTIVE("'type':'flow','body':{'text':'?'},'action':{'name':'flow','parameters':{" parameters "}}")
#define TEMPLATE(components) \
    TO("template", "'template':{'name':'n','language':{'code':'sw'},'components':[" components "]}")

static struct json *checked; /* What a send borrows from lives until the next check. */

static int check(struct slice text, struct graph_send *send, struct graph_error *error)
{
    json_free(checked);
    assert_int_equal(json_parse(text, &checked, NULL), STATUS_OK);
    memset(error, 0, sizeof *error);
    return graph_check_send(checked, send, error);
}

/* Requests are written with ' for ", which none of them holds. */
static int check_quoted(const char *text, struct graph_send *send, struct graph_error *error)
{
    char *copy = strdup(text);
    int status;

    assert_non_null(copy);
    for (char *at = copy; (at = strchr(at, '\'')); at++)
        *at = '"';
    status = check(slice_text(copy), send, error);
    free(copy);
    return status;
}

static void takes(const char *text, struct graph_send *send)
{
    struct graph_error error;

    if (check_quoted(text, send, &error) != STATUS_OK)
        fail_msg("refused: %s\n%s %s", text, error.message, error.details);
}

static void refuses(const char *text, int code, const char *path)
{
    struct graph_error error;
    struct graph_send send;

    if (check_quoted(text, &send, &error) != STATUS_INVALID)
        fail_msg("taken: %s", text);
    assert_int_equal(error.http, 400);
    if (error.code != code || strncmp(error.details, path, strlen(path)) != 0 ||
        error.details[strlen(path)] != ':')
        fail_msg("%s: expected %d %s, got %s %s", text, code, path, error.message, error.details);
}

/* A request whose one long value stands where %s is. */
static char *with_value(const char *format, const char *character, size_t count)
{
    struct text value = { 0 }, all = { 0 };
    const char *at = strstr(format, "%s");

    for (size_t i = 0; i < count; i++)
        text_puts(&value, character);
    text_add(&all, slice_of(format, (size_t)(at - format)));
    text_add(&all, text_slice(&value));
    text_puts(&all, at + 2);
    text_free(&value);
    assert_false(all.failed);
    return all.at;
}

static void takes_a_text_and_says_what_it_is(void **state)
{
    struct graph_send send;

    (void)state;
    takes(WHATSAPP "'to':'+254 (700) 000-001','type':'text','text':{'body':'x'},"
                   "'context':{'message_id':'wamid.A'},'biz_opaque_callback_data':'mine','new':{'a':[1]}}",
          &send);
    assert_int_equal(send.kind, GRAPH_SEND_MESSAGE);
    assert_true(slice_is(send.type, "text"));
    assert_true(slice_is(send.to, "+254 (700) 000-001"));
    assert_string_equal(send.digits, "254700000001");
    assert_true(slice_is(send.refers_to, "wamid.A"));
    assert_true(slice_is(send.opaque, "mine"));
    assert_int_equal(send.template_name.length, 0);
    assert_true(send.is_free_form);
}

static void tells_templates_reactions_and_read_marks_apart(void **state)
{
    struct graph_send send;

    (void)state;
    takes(TEMPLATE(""), &send);
    assert_true(slice_is(send.template_name, "n"));
    assert_false(send.is_free_form);
    takes(TO("reaction", "'reaction':{'message_id':'wamid.B','emoji':''},'context':{'message_id':'wamid.A'}"),
          &send);
    assert_true(slice_is(send.refers_to, "wamid.B"));
    takes(WHATSAPP "'status':'read','message_id':'wamid.C',"
                   "'typing_indicator':{'type':'text'}}",
          &send);
    assert_int_equal(send.kind, GRAPH_SEND_READ);
    assert_true(slice_is(send.type, "read"));
    assert_true(slice_is(send.refers_to, "wamid.C"));
    assert_false(send.is_free_form);
}

static void takes_every_type(void **state)
{
    static const char *const good[] = {
        TO("image", "'image':{'id':'12','caption':'c'}"),
        TO("video", "'video':{'link':'https://e.example/v.mp4'}"),
        TO("document", "'document':{'id':12,'caption':'c','filename':'f.pdf'}"),
        TO("audio", "'audio':{'id':'12','voice':true}"),
        TO("sticker", "'sticker':{'link':'http://e.example/s.webp'}"),
        TO("location", "'location':{'latitude':-1.28,'longitude':36,'name':'n','address':''}"),
        TO("location", "'location':{'latitude':'-1.28','longitude':'36'}"),
        TO("contacts", "'contacts':[{'name':{'formatted_name':'n','first_name':'n'},"
                       "'phones':[{'phone':'+254700000002','type':'CELL'}],'org':{'company':'c'}}]"),
        TO("contacts", "'contacts':'[{\\'name\\':{\\'formatted_name\\':\\'n\\',\\'first_name\\':\\'n\\'}}]'"),
        BUTTONS(BUTTON("a", "A") "," BUTTON("b", "B") "," BUTTON("c", "C")),
        LIST("{'title':'s','rows':[" ROW("1") "," ROW("2") "]}"),
        LIST("{'rows':[" ROW("1") "]}"),
        INTERACTIVE("'type':'cta_url','header':{'type':'image','image':{'id':'1'}},'body':{'text':'?'},"
                    "'footer':{'text':'f'},'action':{'name':'cta_url','parameters':{'display_text':'d',"
                    "'url':'https://e.example'}}"),
        INTERACTIVE(
            "'type':'location_request_message','body':{'text':'?'},'action':{'name':'send_location'}"),
        FLOW("'flow_message_version':'3','flow_id':'1','flow_cta':'Open','flow_action':'navigate',"
             "'flow_action_payload':{'screen':'s','data':{}},'mode':'draft'"),
        INTERACTIVE("'type':'hologram','action':7"),
        TO("hologram", "'hologram':{'beam':1}"),
        TEMPLATE(
            "{'type':'HEADER','parameters':[{'type':'image','image':{'link':'https://e.example/i'}}]},"
            "{'type':'body','parameters':[{'type':'text','text':'a b','parameter_name':'x'},"
            "{'type':'currency','currency':{'fallback_value':'1','code':'KES','amount_1000':1000}},"
            "{'type':'date_time','date_time':{'fallback_value':'today'}}]},"
            "{'type':'button','sub_type':'url','index':0,'parameters':[{'type':'text','text':'1'}]},"
            "{'type':'button','sub_type':'quick_reply','index':'1','parameters':[{'type':'payload',"
            "'payload':'p'}]},{'type':'limited_time_offer','parameters':[{'type':'limited_time_offer'}]}"),
        WHATSAPP "'recipient':'KE.1234abcd','type':'text','text':{'body':'x'}}",
        WHATSAPP "'recipient':'KE.ENT.1234','type':'text','text':{'body':'x'}}",
        WHATSAPP "'recipient_type':'group','to':'Y2FwaV9ncm91','type':'text',"
                 "'text':{'body':'x'}}",
        TO("text", "'text':{'body':'x'},'context':null"),
    };
    struct graph_send send;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        takes(good[i], &send);
}

static void refuses_what_is_missing(void **state)
{
    static const struct {
        const char *text, *path;
    } bad[] = {
        { "{}", "messaging_product" },
        { WHATSAPP "'type':'text','text':{'body':'x'}}", "to" },
        { WHATSAPP "'to':'254700000001','text':{'body':'x'}}", "type" },
        { WHATSAPP "'status':'read'}", "message_id" },
        { TO("text", "'a':1"), "text" },
        { TO("text", "'text':{}"), "text.body" },
        { TO("text", "'text':{'body':''}"), "text.body" },
        { TO("text", "'text':{'body':'x'},'context':{}"), "context.message_id" },
        { TO("image", "'image':{'caption':'c'}"), "image" },
        { TO("location", "'location':{'latitude':1}"), "location.longitude" },
        { TO("contacts", "'contacts':[]"), "contacts" },
        { TO("contacts", "'contacts':[{'name':{}}]"), "contacts[0].name.formatted_name" },
        { TO("reaction", "'reaction':{'message_id':'wamid.A'}"), "reaction.emoji" },
        { INTERACTIVE("'body':{'text':'?'}"), "interactive.type" },
        { BUTTONS(""), "interactive.action.buttons" },
        { BUTTONS(BUTTON("a", "A") ",{'type':'reply','reply':{'id':'b'}}"),
          "interactive.action.buttons[1].reply.title" },
        { LIST("{'title':'s','rows':[" ROW("1") "]},{'rows':[" ROW("2") "]}"),
          "interactive.action.sections[1].title" },
        { FLOW("'flow_message_version':'3','flow_cta':'Open'"), "interactive.action.parameters" },
        { TO("template", "'template':{'name':'n'}"), "template.language" },
        { TEMPLATE("{'type':'body','parameters':[{'type':'text'}]}"),
          "template.components[0].parameters[0].text" },
        { TEMPLATE("{'type':'button','index':'0'}"), "template.components[0].sub_type" },
        { TEMPLATE("{'type':'header','parameters':[{'type':'document','document':{}}]}"),
          "template.components[0].parameters[0].document" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuses(bad[i].text, 131008, bad[i].path);
}

static void refuses_wrong_values(void **state)
{
    static const struct {
        int code;
        const char *text, *path;
    } bad[] = {
        { 100, "[]", "request" },
        { 131009, "{'messaging_product':'telegram'}", "messaging_product" },
        { 131009, WHATSAPP "'status':'seen','message_id':'wamid.A'}", "status" },
        { 131009, WHATSAPP "'to':'call me','type':'text','text':{'body':'x'}}", "to" },
        { 131009, WHATSAPP "'to':'12','type':'text','text':{'body':'x'}}", "to" },
        { 131009, WHATSAPP "'to':'1234567890123456789012345678','type':'text'}", "to" },
        { 100, WHATSAPP "'to':254700000001,'type':'text','text':{'body':'x'}}", "to" },
        { 131009, WHATSAPP "'recipient':'ke.1','type':'text'}", "recipient" },
        { 131009, WHATSAPP "'recipient_type':'crowd'}", "recipient_type" },
        { 131051, TO("system", "'system':{}"), "type" },
        { 100, TO("text", "'text':'x'"), "text" },
        { 100, TO("text", "'text':{'body':1}"), "text.body" },
        { 100, TO("text", "'text':{'body':'x','preview_url':'perhaps'}"), "text.preview_url" },
        { 131009, TO("image", "'image':{'link':'ftp://e.example/i'}"), "image.link" },
        { 131009, TO("image", "'image':{'link':'https://e.example/i','id':'1'}"), "image" },
        { 100, TO("audio", "'audio':{'id':'1','caption':'c'}"), "audio.caption" },
        { 131009, TO("location", "'location':{'latitude':91,'longitude':0}"), "location.latitude" },
        { 100, TO("location", "'location':{'latitude':'north','longitude':0}"), "location.latitude" },
        { 131009, BUTTONS(BUTTON("a", "A") "," BUTTON("a", "B")), "interactive.action.buttons[1].reply.id" },
        { 131009, BUTTONS(BUTTON("a", "A") "," BUTTON("b", "A")),
          "interactive.action.buttons[1].reply.title" },
        { 100, BUTTONS(BUTTON("a", "A") "," BUTTON("b", "B") "," BUTTON("c", "C") "," BUTTON("d", "D")),
          "interactive.action.buttons" },
        { 100, LIST("{'title':'s','rows':[" SIX_ROWS "]},{'title':'u','rows':[" SIX_ROWS "]}"),
          "interactive.action.sections" },
        { 131009,
          LIST("{'title':'s','rows':[" ROW("1") "]},{'title':'u','rows':[" ROW("2") "," ROW("1") "]}"),
          "interactive.action.sections[1].rows[1].id" },
        { 131009,
          INTERACTIVE("'type':'list','header':{'type':'image','image':{'id':'1'}},'body':{'text':'?'}"),
          "interactive.header.type" },
        { 131009, INTERACTIVE("'type':'cta_url','body':{'text':'?'},'action':{'name':'send_location'}"),
          "interactive.action.name" },
        { 131009, TEMPLATE("{'type':'button','sub_type':'url','index':'10'}"),
          "template.components[0].index" },
        { 132012, TEMPLATE("{'type':'body','parameters':[{'type':'text','text':'a\\nb'}]}"),
          "template.components[0].parameters[0].text" },
        { 132012, TEMPLATE("{'type':'body','parameters':[{'type':'text','text':'a     b'}]}"),
          "template.components[0].parameters[0].text" },
        { 100, TEMPLATE("7"), "template.components[0]" },
        { 100, TO("contacts", "'contacts':'Wanjiru'"), "contacts" },
        { 100, TO("contacts", "'contacts':'{}'"), "contacts" },
        { 131008, TO("contacts", "'contacts':'[{}]'"), "contacts[0].name" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuses(bad[i].text, bad[i].code, bad[i].path);
}

static void counts_characters_not_bytes(void **state)
{
    static const struct {
        const char *format, *path;
        size_t most;
    } limits[] = {
        { TO("text", "'text':{'body':'%s'}"), "text.body", 4096 },
        { TO("image", "'image':{'id':'1','caption':'%s'}"), "image.caption", 1024 },
        { TO("text", "'text':{'body':'x'},'biz_opaque_callback_data':'%s'"), "biz_opaque_callback_data",
          512 },
        { BUTTONS(BUTTON("%s", "A")), "interactive.action.buttons[0].reply.id", 256 },
        { BUTTONS(BUTTON("a", "%s")), "interactive.action.buttons[0].reply.title", 20 },
        { INTERACTIVE("'type':'button','body':{'text':'%s'},'action':{'buttons':[" BUTTON("a", "A") "]}"),
          "interactive.body.text", 1024 },
        { INTERACTIVE("'type':'button','body':{'text':'?'},'footer':{'text':'%s'},"
                      "'action':{'buttons':[" BUTTON("a", "A") "]}"),
          "interactive.footer.text", 60 },
        { INTERACTIVE("'type':'button','header':{'type':'text','text':'%s'},'body':{'text':'?'},"
                      "'action':{'buttons':[" BUTTON("a", "A") "]}"),
          "interactive.header.text", 60 },
        { INTERACTIVE("'type':'list','body':{'text':'%s'},'action':{'button':'b','sections':"
                      "[{'rows':[" ROW("1") "]}]}"),
          "interactive.body.text", 4096 },
        { LIST("{'title':'%s','rows':[" ROW("1") "]}"), "interactive.action.sections[0].title", 24 },
        { LIST("{'rows':[" ROW("%s") "]}"), "interactive.action.sections[0].rows[0].id", 200 },
        { LIST("{'rows':[{'id':'1','title':'t','description':'%s'}]}"),
          "interactive.action.sections[0].rows[0].description", 72 },
    };
    struct graph_send send;

    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        char *fits = with_value(limits[i].format, "\xe0\xa4\x85", limits[i].most);
        char *over = with_value(limits[i].format, "x", limits[i].most + 1);

        takes(fits, &send);
        refuses(over, 100, limits[i].path);
        free(fits);
        free(over);
    }
}

static void says_how_many_are_too_many(void **state)
{
    char *over = with_value(TO("text", "'text':{'body':'%s'}"), "x", 4097);
    struct graph_error error;
    struct graph_send send;

    (void)state;
    assert_int_equal(check_quoted(over, &send, &error), STATUS_INVALID);
    assert_string_equal(error.message, "(#100) Invalid parameter");
    assert_string_equal(error.details, "text.body: 4097 characters; at most 4096");
    free(over);
}

static void writes_errors_in_metas_shape(void **state)
{
    struct graph_error error;
    struct json *tree = NULL;
    struct text out = { 0 };
    char title[400];

    (void)state;
    graph_error_set(&error, 400, 33, "Gone \"for\" good", "phone number %d", 7);
    assert_int_equal(graph_error_write(&error, &out), STATUS_OK);
    assert_int_equal(json_parse(text_slice(&out), &tree, NULL), STATUS_OK);
    assert_true(slice_is(json_string(json_path(tree, "error.message")), "(#33) Gone \"for\" good"));
    assert_true(slice_is(json_string(json_path(tree, "error.type")), "OAuthException"));
    assert_int_equal(json_integer(json_path(tree, "error.code"), 0), 33);
    assert_true(slice_is(json_string(json_path(tree, "error.error_data.details")), "phone number 7"));
    assert_true(json_string(json_path(tree, "error.fbtrace_id")).length > 10);
    json_free(tree);

    /* Cut in the middle of a character it can still be written. */
    for (size_t i = 0; i + 2 < sizeof title; i += 2)
        memcpy(title + i, "\xc3\xa9", 3);
    for (const char *before = "xx"; *before; before++) {
        graph_error_set(&error, 400, 1, before, "%s%s", before, title);
        text_clear(&out);
        assert_int_equal(graph_error_write(&error, &out), STATUS_OK);
    }
    text_free(&out);
}

static void answers_as_whatsapp_does(void **state)
{
    struct graph_send send;
    struct text out = { 0 };

    (void)state;
    takes(WHATSAPP "'to':'+254 700000001','type':'text','text':{'body':'x'}}", &send);
    assert_int_equal(graph_send_answer(&send, "wamid.X", &out), STATUS_OK);
    assert_string_equal(out.at,
                        "{\"messaging_product\":\"whatsapp\",\"contacts\":[{\"input\":\"+254 700000001\","
                        "\"wa_id\":\"254700000001\"}],\"messages\":[{\"id\":\"wamid.X\"}]}");
    text_clear(&out);
    takes(WHATSAPP "'recipient':'KE.1','type':'text','text':{'body':'x'}}", &send);
    assert_int_equal(graph_send_answer(&send, "wamid.X", &out), STATUS_OK);
    assert_string_equal(out.at, "{\"messaging_product\":\"whatsapp\",\"contacts\":[{\"input\":\"KE.1\","
                                "\"user_id\":\"KE.1\"}],\"messages\":[{\"id\":\"wamid.X\"}]}");
    text_clear(&out);
    takes(WHATSAPP "'status':'read','message_id':'wamid.C'}", &send);
    assert_int_equal(graph_send_answer(&send, "wamid.X", &out), STATUS_OK);
    assert_string_equal(out.at, "{\"success\":true}");
    text_free(&out);
}

static void splits_paths(void **state)
{
    static const struct {
        const char *path, *id, *edge; /* id NULL: no such path. */
    } paths[] = {
        { "/v25.0/123/messages", "123", "messages" },
        { "/v13.0/123", "123", "" },
        { "/123/messages", "123", "messages" },
        { "/123/messages/", "123", "messages" },
        { "/v25/123/messages", NULL, NULL },
        { "/v25.0", "v25.0", "" },
        { "/", NULL, NULL },
        { "", NULL, NULL },
        { "//messages", NULL, NULL },
        { "/v25.0/123/messages/more", NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct slice id, edge;
        bool found = graph_path(paths[i].path, &id, &edge);

        if (found != (paths[i].id != NULL) ||
            (found && (!slice_is(id, paths[i].id) || !slice_is(edge, paths[i].edge))))
            fail_msg("%s", paths[i].path);
    }
}

static void takes_the_whole_corpus(void **state)
{
    FILE *lines;
    char *line = NULL;
    size_t room = 0, sends = 0;
    ssize_t length;

    (void)state;
    if (access(CORPUS, R_OK) != 0)
        skip();
    lines = popen("gzip -dc " CORPUS, "r");
    assert_non_null(lines);
    while ((length = getline(&line, &room, lines)) > 0) {
        struct graph_error error;
        struct graph_send send;

        if (strncmp(line, "{\"object\"", 9) == 0)
            continue;
        if (check(slice_of(line, (size_t)length - 1), &send, &error) != STATUS_OK)
            fail_msg("refused: %s %s", error.message, error.details);
        sends++;
    }
    free(line);
    assert_int_equal(pclose(lines), 0);
    assert_true(sends > 0);
}

static int forget(void **state)
{
    (void)state;
    json_free(checked);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_text_and_says_what_it_is),
        cmocka_unit_test(tells_templates_reactions_and_read_marks_apart),
        cmocka_unit_test(takes_every_type),
        cmocka_unit_test(refuses_what_is_missing),
        cmocka_unit_test(refuses_wrong_values),
        cmocka_unit_test(counts_characters_not_bytes),
        cmocka_unit_test(says_how_many_are_too_many),
        cmocka_unit_test(writes_errors_in_metas_shape),
        cmocka_unit_test(answers_as_whatsapp_does),
        cmocka_unit_test(splits_paths),
        cmocka_unit_test(takes_the_whole_corpus),
    };

    return cmocka_run_group_tests(tests, NULL, forget);
}
