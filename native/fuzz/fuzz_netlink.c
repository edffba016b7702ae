// The walk over netlink messages, in requests and in the kernel's answers. It is compiled from the
// real file, for the walk is its own.
//
// Input: requests asked for - 1 | bytes, taken as a request and as a datagram
#include "../system/netlink.c"

#include "fuzz.h"

enum { INPUT_MAX = 2048 };

static struct answer answer; // keeps its memory from input to input

static void as_request(const uint8_t *data, size_t size) {
    static uint8_t request[INPUT_MAX];
    uint32_t count = 0;
    if (count_messages(fuzz_exact(data, size), size, &count) != 0)
        return;
    FUZZ_CHECK(count >= 1 && count <= KY_NETLINK_BATCH_MAX && count <= size / 16);
    memcpy(request, data, size);
    stamp(fuzz_exact(request, size), size, 1);
}

static void as_answer(uint8_t requests, const uint8_t *data, size_t size) {
    answer.len = 0;
    answer.first = 0;
    answer.count = answer.open = requests % 8 + 1u;
    answer.overtaken = false;
    int err = take_datagram(&answer, fuzz_exact(data, size), size);
    FUZZ_CHECK(err == 0 || err == -EPROTO);
    FUZZ_CHECK(answer.len <= answer.cap && answer.len <= NLMSG_ALIGN(size));
    FUZZ_CHECK(answer.open <= answer.count);
    for (size_t at = 0; at < answer.len;) { // what is handed on is whole messages
        size_t length = message_length(answer.bytes + at, answer.len - at);
        uint32_t index;
        FUZZ_CHECK(length != 0);
        memcpy(&index, answer.bytes + at + offsetof(struct nlmsghdr, nlmsg_seq), sizeof index);
        FUZZ_CHECK(index < answer.count);
        at += NLMSG_ALIGN(length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > INPUT_MAX)
        return 0;
    as_request(data + 1, size - 1);
    as_answer(data[0], data + 1, size - 1);
    return 0;
}

static size_t put_message(uint8_t *out, uint16_t type, uint16_t flags, uint32_t seq,
                          uint32_t body) {
    struct nlmsghdr h = {
        .nlmsg_len = 16 + body, .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = seq};
    memcpy(out, &h, sizeof h);
    memset(out + 16, 0, NLMSG_ALIGN(body));
    return 16 + NLMSG_ALIGN(body);
}

void fuzz_seeds(fuzz_add *add) {
    uint8_t input[INPUT_MAX];
    input[0] = 0;
    add(input, 1 + put_message(input + 1, NLMSG_ERROR, 0, 0, 20));
    add(input, 1 + put_message(input + 1, 16, 0, 0, 33));
    size_t at = 1;
    for (uint32_t i = 0; i < 4; i++)
        at += put_message(input + at, 16, NLM_F_MULTI | (i == 2 ? NLM_F_DUMP_INTR : 0), 0, 32 + i);
    at += put_message(input + at, NLMSG_DONE, NLM_F_MULTI, 0, 4);
    add(input, at);
    input[0] = 7, at = 1;
    for (uint32_t i = 0; i < 10; i++)
        at += put_message(input + at, NLMSG_ERROR, 0, i, 4);
    add(input, at);
}
