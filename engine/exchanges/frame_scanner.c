/* Frames in a known layout to events, in one pass over their bytes.
 *
 * The compiled half of engine/exchanges/layouts.py, which says what for. A `Layout` is called with
 * a frame, its instrument and the receive time. A frame that is written exactly as one of its
 * variants says becomes an event; any other, whatever is odd about it, is handed to `otherwise` as
 * it came, which reads all that the venue may send and says what is wrong. So nothing is decided
 * here but "this is the usual frame", and no input is refused.
 *
 * Bytes are read up to the NUL that CPython keeps behind every bytes object: digits end there, and
 * so does text.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>

#if FLT_EVAL_METHOD != 0 || defined(__FAST_MATH__)
#error "a quotient of two doubles must be rounded once: read frames without this module"
#endif

enum { MOST_FIELDS = 32 };

_Static_assert((INT64_C(1) << 53) < INT64_C(1000000000000000000), "engine.exchanges.wire.LARGEST");
static const int64_t LAST_TIME_MS = INT64_C(4102444800000); /* wire.LAST_TIME_NS */
static const int64_t NS_PER_MS = 1000000; /* engine.clock.NS_PER_MS */

/* What a step of a variant reads. Their names are told to layouts.py, which reads in Python where
 * it knows others: an old module must not read a new layout. */
enum kind { LITERAL, CHOICE, TEXT, DIGITS, ID, TIME, PRICE, AMOUNT, REMAINING, CHECKSUM, LEVELS };
static const char *const KINDS[] = {"literal", "choice", "text",      "digits",   "id",    "time",
                                    "price",   "amount", "remaining", "checksum", "levels"};

typedef struct {
    enum kind kind;
    int field;      /* of the event, which gets the value; -1 for none */
    int text_field; /* gets the same in the venue's own digits; -1 for none */
    bool has_more;  /* levels may have further texts behind price and amount */
    PyObject *argument; /* bytes of a literal; of a choice a tuple of (bytes, value) */
} Step;

typedef struct {
    Py_ssize_t fields; /* the event's first ones, which are given; further ones have defaults */
    Py_ssize_t length;
    Step *steps;
} Variant;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *otherwise;
    PyObject *event;
    PyObject *constants; /* by field: what it is where no step gives it */
    int instrument_field;
    int time_field;
    Py_ssize_t length;
    Variant *variants;
    Py_ssize_t latest; /* the one that fitted last, which is tried first */
} Layout;

/* -- numbers and text ---------------------------------------------------------------------- */

static inline bool
is_digit(char sign)
{
    return sign >= '0' && sign <= '9';
}

/* A whole number as JSON writes it, of 18 digits at most. */
static inline bool
whole(const char **at, int64_t *value)
{
    const char *sign = *at;
    int64_t number = 0;
    while (is_digit(*sign) && sign - *at < 18) {
        number = number * 10 + (*sign++ - '0');
    }
    Py_ssize_t digits = sign - *at;
    if (digits == 0 || is_digit(*sign) || (**at == '0' && digits > 1)) {
        return false;
    }
    *at = sign;
    *value = number;
    return true;
}

/* 10^22 is the last power of ten that a double holds exactly. */
static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                              1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                              1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* A number, not negative, with or without a fraction, whose digits make at most 2^53: then they and
 * the power of ten below them are doubles exactly, and their quotient is the double nearest to the
 * number (Clinger 1990). Numbers of more digits are not read here, and none reaches wire.LARGEST. */
static inline bool
decimal(const char **at, double *value)
{
    const char *sign = *at;
    uint64_t number = 0;
    while (is_digit(*sign)) {
        number = number * 10 + (uint64_t)(*sign++ - '0');
    }
    Py_ssize_t digits = sign - *at, fraction = 0;
    if (digits == 0 || (**at == '0' && digits > 1)) {
        return false;
    }
    if (*sign == '.') {
        const char *point = sign++;
        while (is_digit(*sign)) {
            number = number * 10 + (uint64_t)(*sign++ - '0');
        }
        fraction = sign - point - 1;
        if (fraction == 0) {
            return false;
        }
    }
    /* Of 20 digits and more the number may have wrapped. */
    if (digits + fraction > 19 || number > (UINT64_C(1) << 53)) {
        return false;
    }
    *at = sign;
    *value = (double)number / TENS[fraction];
    return true;
}

/* Up to the closing quote: plain ASCII without escapes. */
static inline bool
plain_text(const char **at)
{
    const char *sign = *at;
    while (*sign != '"') {
        if ((unsigned char)(*sign - 0x20) >= 0x5f || *sign == '\\') {
            return false;
        }
        sign++;
    }
    *at = sign;
    return true;
}

static inline PyObject *
ascii(const char *start, const char *end)
{
    PyObject *text = PyUnicode_New(end - start, 127);
    if (text != NULL) {
        memcpy(PyUnicode_1BYTE_DATA(text), start, (size_t)(end - start));
    }
    return text;
}

/* -- levels of a book ---------------------------------------------------------------------- */

/* A new tuple of two, which takes the references; NULL where either is. */
static PyObject *
pair(PyObject *first, PyObject *second)
{
    PyObject *both = first != NULL && second != NULL ? PyTuple_New(2) : NULL;
    if (both == NULL) {
        Py_XDECREF(first);
        Py_XDECREF(second);
        return NULL;
    }
    PyTuple_SET_ITEM(both, 0, first);
    PyTuple_SET_ITEM(both, 1, second);
    return both;
}

static int
append(PyObject *list, PyObject *item)
{
    int failed = item == NULL ? -1 : PyList_Append(list, item);
    Py_XDECREF(item);
    return failed;
}

/* ["61800.30","0.014"], with further texts where there may be some: 1, or 0 for anything else. */
static int
level(const Step *step, const char **place, PyObject *levels, PyObject *texts)
{
    const char *at = *place;
    if (at[0] != '[' || at[1] != '"') {
        return 0;
    }
    const char *price_start = at += 2;
    double price, amount;
    if (!decimal(&at, &price) || !(price > 0.0)) {
        return 0;
    }
    const char *price_end = at;
    if (at[0] != '"' || at[1] != ',' || at[2] != '"') {
        return 0;
    }
    const char *amount_start = at += 3;
    if (!decimal(&at, &amount)) {
        return 0;
    }
    const char *amount_end = at;
    if (*at++ != '"') {
        return 0;
    }
    while (step->has_more && at[0] == ',' && at[1] == '"') {
        at += 2;
        if (!plain_text(&at)) {
            return 0;
        }
        at++;
    }
    if (*at++ != ']') {
        return 0;
    }
    *place = at;
    if (append(levels, pair(PyFloat_FromDouble(price), PyFloat_FromDouble(amount))) < 0) {
        return -1;
    }
    if (texts == NULL) {
        return 1;
    }
    PyObject *text = pair(ascii(price_start, price_end), ascii(amount_start, amount_end));
    return append(texts, text) < 0 ? -1 : 1;
}

static int
all_levels(const Step *step, const char **place, PyObject *levels, PyObject *texts)
{
    const char *at = *place;
    if (*at++ != '[') {
        return 0;
    }
    if (*at == ']') {
        *place = at + 1;
        return 1;
    }
    while (true) {
        int found = level(step, &at, levels, texts);
        if (found != 1) {
            return found;
        }
        char sign = *at++;
        if (sign == ']') {
            *place = at;
            return 1;
        }
        if (sign != ',') {
            return 0;
        }
    }
}

/* -- steps --------------------------------------------------------------------------------- */

static inline bool
literal(PyObject *bytes, const char **at, const char *end)
{
    Py_ssize_t length = PyBytes_GET_SIZE(bytes);
    if (end - *at < length || memcmp(*at, PyBytes_AS_STRING(bytes), (size_t)length) != 0) {
        return false;
    }
    *at += length;
    return true;
}

static PyObject *
chosen(PyObject *choices, const char **at, const char *end)
{
    for (Py_ssize_t n = 0; n < PyTuple_GET_SIZE(choices); n++) {
        PyObject *choice = PyTuple_GET_ITEM(choices, n);
        if (literal(PyTuple_GET_ITEM(choice, 0), at, end)) {
            return Py_NewRef(PyTuple_GET_ITEM(choice, 1));
        }
    }
    return NULL;
}

/* A signed checksum of 32 bits that is not zero, as an unsigned one. */
static bool
checksum(const char **at, uint32_t *value)
{
    const char *sign = *at;
    bool negative = *sign == '-';
    sign += negative;
    int64_t number;
    if (!whole(&sign, &number) || number == 0 || number > INT64_C(0x7fffffff) + negative) {
        return false;
    }
    *at = sign;
    *value = (uint32_t)(negative ? -number : number);
    return true;
}

/* What a step does: 1 done, 0 the frame is another, -1 with an exception set. */
static int
take(const Step *step, const char **at, const char *end, PyObject **values)
{
    const char *start = *at;
    PyObject *value = NULL, *text = NULL;
    int64_t number = 0;
    double amount = 0.0;
    uint32_t sum = 0;
    bool is_kept = step->field >= 0;
    switch (step->kind) {
    case LITERAL:
        return literal(step->argument, at, end);
    case CHOICE:
        value = chosen(step->argument, at, end);
        if (value == NULL) {
            return 0;
        }
        break;
    case TEXT:
        if (!plain_text(at)) {
            return 0;
        }
        value = is_kept ? ascii(start, *at) : NULL;
        break;
    case DIGITS:
        return whole(at, &number);
    case ID:
        if (!whole(at, &number)) {
            return 0;
        }
        value = is_kept ? PyLong_FromLongLong(number) : NULL;
        break;
    case TIME:
        if (!whole(at, &number) || number <= 0 || number >= LAST_TIME_MS) {
            return 0;
        }
        value = is_kept ? PyLong_FromLongLong(number * NS_PER_MS) : NULL;
        break;
    case PRICE:
    case AMOUNT:
    case REMAINING:
        if (!decimal(at, &amount) || !(amount > 0.0 || step->kind == REMAINING)) {
            return 0;
        }
        value = is_kept ? PyFloat_FromDouble(amount) : NULL;
        break;
    case CHECKSUM:
        if (!checksum(at, &sum)) {
            return 0;
        }
        value = is_kept ? PyLong_FromUnsignedLong(sum) : NULL;
        break;
    case LEVELS:
        value = PyList_New(0);
        text = step->text_field >= 0 ? PyList_New(0) : NULL;
        if (value == NULL || (text == NULL && step->text_field >= 0)) {
            Py_XDECREF(value);
            Py_XDECREF(text);
            return -1;
        }
        int found = all_levels(step, at, value, text);
        if (found != 1) {
            Py_DECREF(value);
            Py_XDECREF(text);
            return found;
        }
        values[step->field] = value;
        if (text != NULL) {
            values[step->text_field] = text;
        }
        return 1;
    }
    if (!is_kept) {
        Py_XDECREF(value);
        return 1;
    }
    if (value == NULL) {
        return -1;
    }
    values[step->field] = value;
    if (step->text_field >= 0) {
        values[step->text_field] = ascii(start, *at);
        return values[step->text_field] == NULL ? -1 : 1;
    }
    return 1;
}

static int
fits(const Variant *variant, const char *at, const char *end, PyObject **values)
{
    for (Py_ssize_t n = 0; n < variant->length; n++) {
        int taken = take(&variant->steps[n], &at, end, values);
        if (taken != 1) {
            return taken;
        }
    }
    return at == end;
}

static void
forget(PyObject **values)
{
    for (Py_ssize_t n = 0; n < MOST_FIELDS; n++) {
        Py_CLEAR(values[n]);
    }
}

/* -- Layout -------------------------------------------------------------------------------- */

static PyObject *
layout_event(Layout *self, const Variant *variant, PyObject **values, PyObject *instrument,
             PyObject *time)
{
    for (Py_ssize_t n = 0; n < variant->fields; n++) {
        if (values[n] == NULL) {
            PyObject *value = n == self->instrument_field ? instrument
                              : n == self->time_field     ? time
                                                          : PyTuple_GET_ITEM(self->constants, n);
            values[n] = Py_NewRef(value);
        }
    }
    PyObject *event = PyObject_Vectorcall(self->event, values, (size_t)variant->fields, NULL);
    PyObject *events = event != NULL ? PyTuple_New(1) : NULL;
    if (events == NULL) {
        Py_XDECREF(event);
        return NULL;
    }
    PyTuple_SET_ITEM(events, 0, event);
    return events;
}

static PyObject *
layout_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Layout *self = (Layout *)callable;
    if (self->otherwise == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the layout has been collected");
        return NULL;
    }
    if (PyVectorcall_NARGS(nargsf) != 3 || names != NULL || !PyBytes_CheckExact(args[0])) {
        return PyObject_Vectorcall(self->otherwise, args, nargsf, names);
    }
    const char *frame = PyBytes_AS_STRING(args[0]);
    const char *end = frame + PyBytes_GET_SIZE(args[0]);
    PyObject *values[MOST_FIELDS] = {NULL};
    for (Py_ssize_t n = 0, first = self->latest; n < self->length; n++) {
        Py_ssize_t place = n == 0 ? first : n <= first ? n - 1 : n;
        const Variant *variant = &self->variants[place];
        int found = fits(variant, frame, end, values);
        PyObject *events = NULL;
        if (found == 1) {
            self->latest = place;
            events = layout_event(self, variant, values, args[1], args[2]);
        }
        forget(values);
        if (found != 0) {
            return events;
        }
    }
    return PyObject_Vectorcall(self->otherwise, args, nargsf, names);
}

static bool
is_choice(PyObject *argument)
{
    if (!PyTuple_CheckExact(argument)) {
        return false;
    }
    for (Py_ssize_t n = 0; n < PyTuple_GET_SIZE(argument); n++) {
        PyObject *choice = PyTuple_GET_ITEM(argument, n);
        if (!PyTuple_CheckExact(choice) || PyTuple_GET_SIZE(choice) != 2 ||
            !PyBytes_CheckExact(PyTuple_GET_ITEM(choice, 0))) {
            return false;
        }
    }
    return true;
}

static bool
step_init(Step *step, PyObject *given, Py_ssize_t fields)
{
    int kind, has_more;
    PyObject *argument;
    if (!PyTuple_CheckExact(given) || !PyArg_ParseTuple(given, "iiipO", &kind, &step->field,
                                                        &step->text_field, &has_more, &argument)) {
        return false;
    }
    step->kind = (enum kind)kind;
    step->has_more = has_more;
    step->argument = Py_NewRef(argument);
    return kind >= LITERAL && kind <= LEVELS && step->field < fields && step->text_field < fields &&
           (kind != LITERAL || PyBytes_CheckExact(argument)) &&
           (kind != CHOICE || is_choice(argument)) && (kind != LEVELS || step->field >= 0);
}

static bool
variant_init(Variant *variant, PyObject *given, Py_ssize_t most)
{
    PyObject *steps;
    if (!PyTuple_CheckExact(given) ||
        !PyArg_ParseTuple(given, "nO!", &variant->fields, &PyTuple_Type, &steps) ||
        variant->fields < 0 || variant->fields > most) {
        return false;
    }
    variant->steps = PyMem_Calloc((size_t)PyTuple_GET_SIZE(steps) + 1, sizeof(Step));
    if (variant->steps == NULL) {
        return false;
    }
    for (; variant->length < PyTuple_GET_SIZE(steps); variant->length++) {
        Step *step = &variant->steps[variant->length];
        if (!step_init(step, PyTuple_GET_ITEM(steps, variant->length), variant->fields)) {
            Py_CLEAR(step->argument);
            return false;
        }
    }
    return true;
}

static PyObject *
layout_new(PyTypeObject *type, PyObject *args, PyObject *names)
{
    PyObject *otherwise, *event, *constants, *variants;
    int instrument_field, time_field;
    if (names != NULL && PyDict_GET_SIZE(names) != 0) {
        PyErr_SetString(PyExc_TypeError, "Layout takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OOiiO!O!", &otherwise, &event, &instrument_field, &time_field,
                          &PyTuple_Type, &constants, &PyTuple_Type, &variants)) {
        return NULL;
    }
    Layout *self = (Layout *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->vectorcall = layout_call;
    self->otherwise = Py_NewRef(otherwise);
    self->event = Py_NewRef(event);
    self->constants = Py_NewRef(constants);
    self->instrument_field = instrument_field;
    self->time_field = time_field;
    self->variants = PyMem_Calloc((size_t)PyTuple_GET_SIZE(variants) + 1, sizeof(Variant));
    Py_ssize_t most = PyTuple_GET_SIZE(constants);
    if (self->variants == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    bool is_sound = most <= MOST_FIELDS;
    while (is_sound && self->length < PyTuple_GET_SIZE(variants)) {
        Variant *variant = &self->variants[self->length];
        is_sound = variant_init(variant, PyTuple_GET_ITEM(variants, self->length), most);
        self->length++; /* also where it is half made, so that it is cleared */
    }
    if (!is_sound) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "a step of another form, or too many fields");
        }
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
layout_traverse(Layout *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->otherwise);
    Py_VISIT(self->event);
    Py_VISIT(self->constants);
    for (Py_ssize_t n = 0; n < self->length; n++) {
        for (Py_ssize_t m = 0; m < self->variants[n].length; m++) {
            Py_VISIT(self->variants[n].steps[m].argument);
        }
    }
    return 0;
}

static int
layout_clear(Layout *self)
{
    /* Out of reach first: what is let go of may call back. */
    Variant *variants = self->variants;
    Py_ssize_t length = self->length;
    self->variants = NULL;
    self->length = 0;
    Py_CLEAR(self->otherwise);
    Py_CLEAR(self->event);
    Py_CLEAR(self->constants);
    for (Py_ssize_t n = 0; n < length; n++) {
        for (Py_ssize_t m = 0; m < variants[n].length; m++) {
            Py_CLEAR(variants[n].steps[m].argument);
        }
        PyMem_Free(variants[n].steps);
    }
    PyMem_Free(variants);
    return 0;
}

static void
layout_dealloc(Layout *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    layout_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyMemberDef layout_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Layout, vectorcall), READONLY, NULL},
    {"otherwise", T_OBJECT_EX, offsetof(Layout, otherwise), READONLY, "What reads other frames."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot layout_slots[] = {
    {Py_tp_doc, "Layout(otherwise, event, instrument_field, time_field, constants, variants)"},
    {Py_tp_new, layout_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_traverse, layout_traverse},
    {Py_tp_clear, layout_clear},
    {Py_tp_dealloc, layout_dealloc},
    {Py_tp_members, layout_members},
    {0, NULL},
};

static PyType_Spec layout_spec = {
    .name = "engine.exchanges.frame_scanner.Layout",
    .basicsize = sizeof(Layout),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = layout_slots,
};

static PyObject *
kinds(void)
{
    Py_ssize_t length = (Py_ssize_t)(sizeof KINDS / sizeof *KINDS);
    PyObject *names = PyTuple_New(length);
    for (Py_ssize_t n = 0; names != NULL && n < length; n++) {
        PyObject *name = PyUnicode_FromString(KINDS[n]);
        if (name == NULL) {
            Py_CLEAR(names);
        }
        else {
            PyTuple_SET_ITEM(names, n, name);
        }
    }
    return names;
}

static int
module_exec(PyObject *module)
{
    PyObject *layout = PyType_FromModuleAndSpec(module, &layout_spec, NULL);
    PyObject *names = kinds();
    int failed = layout == NULL || names == NULL ||
                 PyModule_AddObjectRef(module, "Layout", layout) < 0 ||
                 PyModule_AddObjectRef(module, "KINDS", names) < 0;
    Py_XDECREF(layout);
    Py_XDECREF(names);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "frame_scanner",
    .m_doc = "Frames in a known layout to events, in one pass.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit_frame_scanner(void)
{
    return PyModuleDef_Init(&module);
}
