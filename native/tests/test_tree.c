/* The tree against a model: a table of which keys are there and what they hold.
 *
 * Frozen nodes go to a "device" that never forgets; the cache is emptied again and again, and
 * whatever is missing is loaded from there, so that every path also runs with nodes that were
 * verified on their way in.
 */
#include "check.h"
#include "samples.h"
#include "tree_private.h"

#define UNIVERSE 3000
#define DEVICE_NODES 60000
#define BUFFER_SIZE 65536

static const uint8_t uuid[16] = "uuid of a volume";
static const uint8_t salt[16] = "salt of a volume";

typedef struct {
    uint16_t length[UNIVERSE]; /* 0: not there */
    uint8_t fill[UNIVERSE];
} model;

typedef struct {
    affs_cache *cache;
    uint8_t (*images)[AFFS_NODE_SIZE]; /* by address / 4 */
    uint64_t next;
    uint64_t birth;
    uint64_t loads;
} device;

static device device_new(void)
{
    device made = {.cache = affs_cache_new((uint64_t)1 << 30, uuid, salt), .next = 1};
    made.images = calloc(DEVICE_NODES, sizeof *made.images);
    CHECK(made.cache && made.images);
    return made;
}

static void device_free(device *device)
{
    affs_cache_free(device->cache);
    free(device->images);
}

static affs_key key_of(unsigned number)
{
    const uint8_t type = (uint8_t)(AFFS_ITEM_OPERATION + number % 2);
    return (affs_key){.object = number / 5, .type = type, .offset = number};
}

/* Key order of the model: by object, then type, then offset. */
static int compare_numbers(const void *a, const void *b)
{
    const affs_key left = key_of(*(const unsigned *)a), right = key_of(*(const unsigned *)b);
    return affs_key_compare(&left, &right);
}

static const unsigned *key_order(void)
{
    static unsigned numbers[UNIVERSE];
    static bool sorted;
    if (!sorted) {
        for (unsigned i = 0; i < UNIVERSE; i++)
            numbers[i] = i;
        qsort(numbers, UNIVERSE, sizeof *numbers, compare_numbers);
        sorted = true;
    }
    return numbers;
}

static void load(device *device, const affs_pointer *pointer)
{
    device->loads++;
    CHECK(pointer->address / 4 < DEVICE_NODES);
    CHECK_EQUAL(affs_cache_install(device->cache, pointer, device->images[pointer->address / 4],
                                   AFFS_NODE_SIZE),
                AFFS_OK);
}

static void load_missing(device *device, const affs_tree *tree)
{
    affs_pointer pointer;
    affs_tree_missing(tree, &pointer);
    load(device, &pointer);
}

static affs_pointer freeze(device *device, affs_tree *tree)
{
    const uint32_t count = affs_tree_dirty_count(tree);
    uint64_t *addresses = calloc(count + 1, sizeof *addresses);
    affs_image *images = calloc(count + 1, sizeof *images);
    CHECK(addresses && images);
    for (uint32_t i = 0; i < count; i++)
        addresses[i] = 4 * device->next++;
    affs_pointer root;
    CHECK_EQUAL(affs_tree_freeze(tree, ++device->birth, addresses, NULL, count, images, &root),
                AFFS_OK);
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQUAL(images[i].address, addresses[i]);
        CHECK_EQUAL(affs_verify_node(images[i].image, AFFS_NODE_SIZE, uuid, salt, NULL), AFFS_OK);
        memcpy(device->images[addresses[i] / 4], images[i].image, AFFS_NODE_SIZE);
    }
    affs_cache_written(device->cache, images, count);
    free(addresses);
    free(images);
    return root;
}

/* ---- operations that load what they miss, checked against the model ---- */

static void put(device *device, affs_tree *tree, model *model, unsigned number, uint16_t length,
                uint8_t fill)
{
    uint8_t payload[AFFS_ITEM_MAX];
    memset(payload, fill, sizeof payload);
    const affs_key key = key_of(number);
    int result;
    while ((result = affs_tree_put(tree, &key, payload, length, AFFS_PUT_ANY)) == AFFS_R_MISSING)
        load_missing(device, tree);
    CHECK_EQUAL(result, AFFS_OK);
    model->length[number] = length;
    model->fill[number] = fill;
}

static void delete (device *device, affs_tree *tree, model *model, unsigned number)
{
    const affs_key key = key_of(number);
    int result;
    while ((result = affs_tree_delete(tree, &key)) == AFFS_R_MISSING)
        load_missing(device, tree);
    CHECK_EQUAL(result, model->length[number] ? AFFS_OK : AFFS_R_NOT_FOUND);
    model->length[number] = 0;
}

static void check_item(const model *model, unsigned number, const affs_item *item)
{
    const affs_key key = key_of(number);
    CHECK_EQUAL(affs_key_compare(&item->key, &key), 0);
    CHECK_EQUAL(item->length, model->length[number]);
    CHECK_EQUAL(item->payload[0], model->fill[number]);
    CHECK_EQUAL(item->payload[item->length - 1], model->fill[number]);
}

static void get(device *device, affs_tree *tree, const model *model, unsigned number)
{
    const affs_key key = key_of(number);
    affs_item item;
    int result;
    while ((result = affs_tree_get(tree, &key, &item)) == AFFS_R_MISSING)
        load_missing(device, tree);
    CHECK_EQUAL(result, model->length[number] ? AFFS_OK : AFFS_R_NOT_FOUND);
    if (result == AFFS_OK)
        check_item(model, number, &item);
}

static void seek(device *device, affs_tree *tree, const model *model, unsigned place, int backward)
{
    const unsigned *order = key_order();
    int expected = (int)place;
    while (expected >= 0 && expected < UNIVERSE && !model->length[order[expected]])
        expected += backward ? -1 : 1;
    const affs_key key = key_of(order[place]);
    affs_item item;
    int result;
    while ((result = affs_tree_seek(tree, &key, backward, &item)) == AFFS_R_MISSING)
        load_missing(device, tree);
    const bool there = expected >= 0 && expected < UNIVERSE;
    CHECK_EQUAL(result, there ? AFFS_OK : AFFS_R_NOT_FOUND);
    if (there)
        check_item(model, order[expected], &item);
}

static void check_all(device *device, affs_tree *tree, const model *model)
{
    static uint8_t buffer[BUFFER_SIZE];
    const unsigned *order = key_order();
    const affs_key end = {UINT64_MAX, UINT64_MAX, UINT8_MAX, {0}};
    affs_key from = {0};
    unsigned place = 0;
    int result;
    do {
        size_t used, at = 0;
        uint32_t count;
        result = affs_tree_scan(tree, &from, &end, buffer, sizeof buffer, &used, &count);
        if (result == AFFS_R_MISSING)
            load_missing(device, tree);
        for (uint32_t i = 0; i < count; i++) {
            affs_item item;
            uint32_t length[2];
            memcpy(&item.key, buffer + at, sizeof item.key);
            memcpy(length, buffer + at + sizeof item.key, sizeof length);
            item.length = length[0];
            item.payload = buffer + at + 32;
            at += 32 + (item.length + 7) / 8 * 8;
            while (place < UNIVERSE && !model->length[order[place]])
                place++;
            CHECK(place < UNIVERSE);
            check_item(model, order[place++], &item);
            from = item.key;
            from.offset++;
        }
        CHECK_EQUAL(at, used);
    } while (result == AFFS_R_MORE || result == AFFS_R_MISSING);
    CHECK_EQUAL(result, AFFS_OK);
    while (place < UNIVERSE)
        CHECK_EQUAL(model->length[order[place++]], 0);
}

static uint16_t random_length(uint64_t *seed)
{
    static const uint16_t limits[] = {8, 8, 60, 60, 300, 1500, AFFS_ITEM_MAX};
    const uint16_t limit = limits[check_random(seed) % (sizeof limits / sizeof *limits)];
    return (uint16_t)(1 + check_random(seed) % limit);
}

/* Runs of puts, runs of deletes, single operations; ascending, descending and random. */
static void change_some(device *device, affs_tree *tree, model *model, uint64_t *seed,
                        unsigned steps)
{
    const unsigned *order = key_order();
    const unsigned direction = (unsigned)(check_random(seed) % 3);
    unsigned place = (unsigned)(check_random(seed) % UNIVERSE);
    const bool deleting = check_random(seed) % 3 == 0;
    for (unsigned i = 0; i < steps; i++) {
        if (deleting)
            delete (device, tree, model, order[place]);
        else
            put(device, tree, model, order[place], random_length(seed),
                (uint8_t)check_random(seed));
        if (direction == 0)
            place = (place + 1) % UNIVERSE;
        else if (direction == 1)
            place = (place + UNIVERSE - 1) % UNIVERSE;
        else
            place = (unsigned)(check_random(seed) % UNIVERSE);
    }
}

static void test_random(uint64_t seed)
{
    device device = device_new();
    static model now;
    memset(&now, 0, sizeof now);
    affs_tree *tree = affs_tree_new(device.cache, AFFS_TREE_SYSTEM, NULL, 1);
    for (unsigned round = 0; round < 120; round++) {
        change_some(&device, tree, &now, &seed, (unsigned)(check_random(&seed) % 200));
        for (unsigned i = 0; i < 20; i++) {
            get(&device, tree, &now, (unsigned)(check_random(&seed) % UNIVERSE));
            seek(&device, tree, &now, (unsigned)(check_random(&seed) % UNIVERSE), i % 2);
        }
        if (check_random(&seed) % 4 == 0) {
            affs_pointer root = freeze(&device, tree), same;
            CHECK_EQUAL(affs_tree_get_root(tree, &same), AFFS_OK);
            CHECK(memcmp(&root, &same, sizeof root) == 0);
        }
        if (check_random(&seed) % 4 == 0)
            affs_cache_drop_clean(device.cache);
        if (round % 10 == 0)
            check_all(&device, tree, &now);
    }
    check_all(&device, tree, &now);
    affs_tree_free(tree);
    affs_cache_statistics statistics;
    affs_cache_get_statistics(device.cache, &statistics);
    CHECK_EQUAL(statistics.dirty_count, 0);
    CHECK_EQUAL(statistics.frozen_count, 0);
    device_free(&device);
}

/* ---- diff and walk ---- */

static unsigned check_diff(device *device, const affs_pointer roots[2], const model models[2])
{
    affs_tree *a = affs_tree_new(device->cache, AFFS_TREE_SYSTEM, &roots[0], 0);
    affs_tree *b = affs_tree_new(device->cache, AFFS_TREE_SYSTEM, &roots[1], 0);
    affs_diff *diff = affs_diff_new(a, b);
    CHECK(diff);
    const unsigned *order = key_order();
    unsigned place = 0, nodes = 0;
    affs_diff_event event;
    int result;
    while ((result = affs_diff_next(diff, &event)) != AFFS_R_END) {
        if (result == AFFS_R_MISSING) {
            affs_pointer pointer;
            affs_diff_missing(diff, &pointer);
            load(device, &pointer);
            continue;
        }
        CHECK_EQUAL(result, AFFS_OK);
        if (event.kind == AFFS_DIFF_NODE_A || event.kind == AFFS_DIFF_NODE_B) {
            nodes++;
            continue;
        }
        while (place < UNIVERSE &&
               models[0].length[order[place]] == models[1].length[order[place]] &&
               (!models[0].length[order[place]] ||
                models[0].fill[order[place]] == models[1].fill[order[place]]))
            place++;
        CHECK(place < UNIVERSE);
        const unsigned number = order[place++];
        const affs_item one = {event.key, event.a_payload, event.a_length};
        const affs_item two = {event.key, event.b_payload, event.b_length};
        if (event.kind != AFFS_DIFF_ONLY_B)
            check_item(&models[0], number, &one);
        if (event.kind != AFFS_DIFF_ONLY_A)
            check_item(&models[1], number, &two);
        CHECK_EQUAL(event.kind != AFFS_DIFF_ONLY_B, models[0].length[number] != 0);
        CHECK_EQUAL(event.kind != AFFS_DIFF_ONLY_A, models[1].length[number] != 0);
    }
    for (; place < UNIVERSE; place++) {
        CHECK_EQUAL(models[0].length[order[place]], models[1].length[order[place]]);
        if (models[0].length[order[place]])
            CHECK_EQUAL(models[0].fill[order[place]], models[1].fill[order[place]]);
    }
    affs_tree_free(a); /* the diff still holds it */
    affs_tree_free(b);
    CHECK_EQUAL(affs_diff_next(diff, &event), AFFS_E_INVALID);
    affs_diff_free(diff);
    return nodes;
}

static unsigned count_nodes(device *device, const affs_pointer *root, int level_min)
{
    affs_walk *walk = affs_walk_new(device->cache, root, level_min);
    CHECK(walk);
    unsigned count = 0;
    affs_pointer pointer;
    int result;
    while ((result = affs_walk_next(walk, &pointer)) != AFFS_R_END) {
        if (result == AFFS_R_MISSING) {
            affs_walk_missing(walk, &pointer);
            load(device, &pointer);
            continue;
        }
        CHECK_EQUAL(result, AFFS_OK);
        count++;
        if (count % 7 == 0)
            affs_cache_drop_clean(device->cache);
    }
    affs_walk_free(walk);
    return count;
}

static void test_diff_and_walk(uint64_t seed)
{
    device device = device_new();
    static model models[2];
    memset(models, 0, sizeof models);
    affs_tree *tree = affs_tree_new(device.cache, AFFS_TREE_SYSTEM, NULL, 1);
    for (unsigned i = 0; i < UNIVERSE; i++)
        put(&device, tree, &models[1], key_order()[i], 100, (uint8_t)(i % 250));
    affs_pointer roots[2];
    roots[1] = freeze(&device, tree);
    for (unsigned round = 0; round < 60; round++) {
        roots[0] = roots[1];
        models[0] = models[1];
        change_some(&device, tree, &models[1], &seed, (unsigned)(check_random(&seed) % 80));
        roots[1] = freeze(&device, tree);
        if (round % 2)
            affs_cache_drop_clean(device.cache);
        check_diff(&device, roots, models);
        const affs_pointer swapped[2] = {roots[1], roots[0]};
        static model swapped_models[2];
        swapped_models[0] = models[1];
        swapped_models[1] = models[0];
        check_diff(&device, swapped, swapped_models);
        CHECK_EQUAL(count_nodes(&device, &roots[1], 0), count_nodes(&device, &roots[1], 1));
    }
    affs_tree_free(tree);
    device_free(&device);
}

/* ---- the order in which things are given back ---- */

static void test_lifetimes(void)
{
    device device = device_new();
    affs_tree *tree = affs_tree_new(device.cache, AFFS_TREE_SYSTEM, NULL, 1);
    static model model;
    memset(&model, 0, sizeof model);
    put(&device, tree, &model, 1, 10, 1);
    const affs_pointer root = freeze(&device, tree);
    affs_walk *walk = affs_walk_new(device.cache, &root, 0);
    affs_diff *diff = affs_diff_new(tree, tree);
    put(&device, tree, &model, 2, 10, 1);
    affs_cache *cache = device.cache;
    affs_cache_free(cache); /* trees, walks and diffs keep it */
    get(&device, tree, &model, 1);
    affs_tree_free(tree);
    affs_pointer pointer;
    CHECK_EQUAL(affs_walk_next(walk, &pointer), AFFS_OK);
    CHECK_EQUAL(affs_walk_next(walk, &pointer), AFFS_R_END);
    affs_walk_free(walk);
    affs_diff_free(diff);
    free(device.images);
    affs_cache_free(NULL);
    affs_tree_free(NULL);
    affs_walk_free(NULL);
    affs_diff_free(NULL);
}

static void test_bad_arguments(void)
{
    device device = device_new();
    affs_pointer root = sample_pointer(AFFS_TREE_SYSTEM);
    CHECK(!affs_tree_new(device.cache, 0, NULL, 1));
    CHECK(!affs_tree_new(device.cache, 5, NULL, 1));
    CHECK(!affs_tree_new(device.cache, AFFS_TREE_SPACE, &root, 1));
    root.address |= AFFS_DIRTY;
    CHECK(!affs_tree_new(device.cache, AFFS_TREE_SYSTEM, &root, 1));
    CHECK(!affs_walk_new(device.cache, &root, 0));
    affs_tree *tree = affs_tree_new(device.cache, AFFS_TREE_SYSTEM, NULL, 1);
    affs_tree *reader = affs_tree_new(device.cache, AFFS_TREE_SYSTEM, NULL, 0);
    const affs_key key = key_of(1), namespace_key = {.object = 1, .type = AFFS_ITEM_INODE};
    CHECK_EQUAL(affs_tree_put(tree, &namespace_key, "x", 1, AFFS_PUT_ANY), AFFS_E_INVALID);
    CHECK_EQUAL(affs_tree_put(tree, &key, "x", AFFS_ITEM_MAX + 1, AFFS_PUT_ANY), AFFS_E_INVALID);
    CHECK_EQUAL(affs_tree_put(tree, &key, "x", 1, -1), AFFS_E_INVALID);
    CHECK_EQUAL(affs_tree_put(reader, &key, "x", 1, AFFS_PUT_ANY), AFFS_E_READONLY);
    CHECK_EQUAL(affs_tree_delete(reader, &key), AFFS_E_READONLY);
    CHECK_EQUAL(affs_tree_dirty_count(tree), 1);
    uint8_t small[40];
    size_t used;
    uint32_t count;
    const affs_key from = key_of(0), to = key_of(100);
    CHECK_EQUAL(affs_tree_put(tree, &key, "0123456789", 10, AFFS_PUT_ANY), AFFS_OK);
    CHECK_EQUAL(affs_tree_scan(tree, &from, &to, small, sizeof small, &used, &count),
                AFFS_E_LENGTH);
    uint64_t objects[] = {key.object, key.object + 1};
    uint32_t counts[2], done;
    CHECK_EQUAL(affs_tree_gather(tree, objects, 2, 0, UINT8_MAX, small, sizeof small, counts,
                                 &done),
                AFFS_OK);
    CHECK_EQUAL(done, 2);
    CHECK_EQUAL(counts[0], AFFS_GATHER_MANY);
    CHECK_EQUAL(counts[1], 0);
    affs_tree_free(tree);
    affs_tree_free(reader);
    device_free(&device);
}

int main(void)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        test_random(seed);
    for (uint64_t seed = 1; seed <= 4; seed++)
        test_diff_and_walk(seed);
    test_lifetimes();
    test_bad_arguments();
    return 0;
}
