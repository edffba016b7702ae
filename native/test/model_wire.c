#include "model_wire.h"

#include "check.h"

enum { FRAME_HEADER = 22 };

void model_wire_clear(struct model_wire *w) {
    w->count = 0;
    model_list_clear(&w->bytes);
}

static void flip_bit(uint8_t *bytes, size_t bit) {
    bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
}

// What may befall a datagram on its way. All of it is seen by both sides.
static void disturb(struct model_wire *w, struct model_datagram *d) {
    uint8_t *bytes = (uint8_t *)d->bytes;
    switch (random_below(w->random, 14)) {
    case 0:
        d->truncated = true;
        break;
    case 1:
        d->len = random_below(w->random, random_one_in(w->random, 2) ? 2 * FRAME_HEADER
                                                                     : (uint32_t)d->len + 1);
        break;
    case 2: // a stranger
        d->from.bytes[1] ^= 0x10;
        break;
    case 3: // another node
        d->from = w->world->node[random_below(w->random, w->world->nodes)].outer;
        break;
    case 4:
        flip_bit(bytes, random_below(w->random, 64));
        break;
    case 5:
        flip_bit(bytes, 64 + random_below(w->random, 48));
        break;
    case 6:
        memcpy(bytes + 14, w->world->node[d->to].mac, 6);
        break;
    case 7:
        flip_bit(bytes, 160 + random_below(w->random, 16));
        break;
    case 8: // the IP header
        flip_bit(bytes, 176 + random_below(w->random, 160));
        break;
    case 9:
        d->gro = random_below(w->random, (uint32_t)d->len + 50);
        break;
    case 10:
        d->tos = 3;
        break;
    default: // anywhere, several times: what a checksum is for
        for (unsigned i = random_below(w->random, 4) + 1; i > 0; i--)
            flip_bit(bytes, random_below(w->random, (uint32_t)d->len * 8));
    }
}

void model_wire_send(struct model_wire *w, unsigned from, unsigned to, const uint8_t *bytes,
                     size_t len, unsigned tos, size_t gro) {
    REQUIRE(w->count < MODEL_ITEMS);
    struct model_datagram *d = &w->datagram[w->count++];
    *d = (struct model_datagram){.bytes = model_list_add(&w->bytes, bytes, len)->bytes,
                                 .len = len,
                                 .gro = gro,
                                 .tos = tos,
                                 .to = to,
                                 .from = w->world->node[from].outer};
    if (tos % 4 != 0 && random_one_in(w->random, 10))
        d->tos |= 3;                       // congestion
    else if (random_one_in(w->random, 20)) // a router with ideas of its own
        d->tos = random_below(w->random, 256);
    if (d->len > 40 && random_one_in(w->random, 40))
        disturb(w, d);
}
