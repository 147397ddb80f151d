#include "ui/sl-timing-panel.h"

#include "ui/sl-timing-bars.h"
#include "ui/sl-timing-chart.h"
#include "ui/sl-timing-numbers.h"
#include "ui/sl-timing-spans.h"

#include <glib/gi18n.h>

#define NUMBERS_EVERY 200 /* ms: of a running picture */
#define SAMPLE_EVERY 500  /* ms: of the GPU */

struct _SlTimingPanel {
  AdwBin parent_instance;

  /* Borrowed from the template. */
  GtkLabel *title;
  GtkWidget *zoom;
  GtkBox *body;
  GtkSeparator *separator;
  GtkLabel *status;
  SlTimingChart *chart;
  SlTimingBars *bars;
  GtkStack *pages;
  SlTimingNumbers *numbers;
  SlTimingSpans *spans;
  GtkLabel *no_gpu;
  SlTimingNumbers *gpu;
  GtkLabel *view;

  SlSession *session;
  SlTiming *timing; /* the one that is shown; NULL: none */
  guint numbers_later, sample_timer;
  gboolean sampling;             /* the last sample is not there yet */
  GtkFileChooserNative *chooser; /* the one that is open, if any */
  SlTiming *exported;            /* what it is for */
  SlTimingFormat format;
};

static guint chosen_signal;

G_DEFINE_FINAL_TYPE (SlTimingPanel, sl_timing_panel, ADW_TYPE_BIN)

SlTiming *
sl_timing_panel_get_selected (SlTimingPanel *self)
{
  return self->timing;
}

void
sl_timing_panel_select (SlTimingPanel *self, SlTiming *timing)
{
  g_return_if_fail (SL_IS_TIMING_PANEL (self));

  sl_timing_bars_select (self->bars, timing);
}

/* ---- The chosen picture ---- */

static void
update_status (SlTimingPanel *self)
{
  g_autofree char *told = NULL, *summary = NULL;

  g_object_get (self->chart, "told", &told, NULL);
  if (self->timing)
    summary = sl_timing_dup_summary (self->timing);
  else
    summary = g_strdup (_ ("Make a picture to see where its time goes"));
  gtk_label_set_text (self->status, told && *told ? told : summary);
}

static void
update_numbers (SlTimingPanel *self)
{
  g_autoptr (GArray) numbers = self->timing ? sl_timing_dup_numbers (self->timing) : NULL;

  sl_timing_numbers_set (self->numbers, numbers);
  gtk_label_set_text (self->title,
                      self->timing ? sl_timing_get_title (self->timing) : _ ("Timings"));
  update_status (self);
}

static gboolean
numbers_later_cb (gpointer data)
{
  SlTimingPanel *self = data;

  if (self->timing && sl_timing_is_running (self->timing) &&
      gtk_widget_get_mapped (GTK_WIDGET (self))) {
    update_numbers (self);
    return G_SOURCE_CONTINUE;
  }
  self->numbers_later = 0;
  return G_SOURCE_REMOVE;
}

/* What runs is shown a few times a second, however often it changes. */
static void
changed_cb (SlTimingPanel *self)
{
  if (!gtk_widget_get_mapped (GTK_WIDGET (self)))
    return;
  if (!self->timing || !sl_timing_is_running (self->timing))
    update_numbers (self);
  else if (!self->numbers_later)
    self->numbers_later = g_timeout_add (NUMBERS_EVERY, numbers_later_cb, self);
}

static void
update_actions (SlTimingPanel *self)
{
  static const char *const exports[] = { "timing.save-trace", "timing.save-csv", "timing.copy" };
  const gboolean done = self->timing && !sl_timing_is_running (self->timing);

  for (guint i = 0; i < G_N_ELEMENTS (exports); i++)
    gtk_widget_action_set_enabled (GTK_WIDGET (self), exports[i], done);
}

static void
set_timing (SlTimingPanel *self, SlTiming *timing)
{
  if (timing == self->timing)
    return;
  if (self->timing) {
    g_signal_handlers_disconnect_by_func (self->timing, changed_cb, self);
    g_signal_handlers_disconnect_by_func (self->timing, update_actions, self);
  }
  g_set_object (&self->timing, timing);
  if (timing) {
    g_signal_connect_swapped (timing, "changed", G_CALLBACK (changed_cb), self);
    g_signal_connect_swapped (timing, "changed", G_CALLBACK (update_actions), self);
  }
  g_object_set (self->chart, "timing", timing, NULL);
  g_object_set (self->spans, "timing", timing, NULL);
  update_numbers (self);
  update_actions (self);
  changed_cb (self);
}

static void
selected_cb (SlTimingPanel *self)
{
  set_timing (self, sl_timing_bars_get_selected (self->bars));
}

static void
chosen_cb (SlTimingPanel *self)
{
  g_signal_emit (self, chosen_signal, 0, self->timing);
}

/* ---- The GPU ---- */

/* FALSE: the pictures are made on the CPU, and there is nothing to ask.  *reason: why, or "". */
static gboolean
has_gpu (SlTimingPanel *self, char **reason)
{
  g_autofree char *name = NULL;

  g_object_get (self->session, "device-name", &name, "device-reason", reason, NULL);
  return !name || !g_str_has_prefix (name, "CPU");
}

static void
update_gpu (SlTimingPanel *self, const struct sl_gpu *gpu)
{
  g_autofree char *reason = NULL, *view = NULL, *why = NULL, *text = NULL;
  const gboolean any = has_gpu (self, &reason);
  g_autoptr (GArray) numbers = any && gpu ? sl_gpu_dup_numbers (gpu) : NULL;

  if (!any)
    /* Translators: the reason is a sentence of the engine. */
    text = reason && *reason ? g_strdup_printf (_ ("No GPU is in use: %s"), reason)
                             : g_strdup (_ ("No GPU is in use."));
  gtk_label_set_text (self->no_gpu, text ? text : "");
  gtk_widget_set_visible (GTK_WIDGET (self->no_gpu), text != NULL);
  gtk_widget_set_visible (GTK_WIDGET (self->gpu), numbers != NULL);
  sl_timing_numbers_set (self->gpu, numbers);

  g_object_get (self->session, "view", &view, "view-reason", &why, NULL);
  g_clear_pointer (&text, g_free);
  if (view && *view)
    text = g_strdup_printf (why && *why ? "%s\n%s" : "%s", view, why);
  gtk_label_set_text (self->view, text ? text : "");
  gtk_widget_set_visible (GTK_WIDGET (self->view), text != NULL);
}

static void
sampled_cb (GObject *session, GAsyncResult *result, gpointer data)
{
  g_autoptr (SlTimingPanel) self = data;
  g_autofree struct sl_gpu *gpu = sl_session_sample_gpu_finish (SL_SESSION (session), result);

  self->sampling = FALSE;
  if (self->session)
    update_gpu (self, gpu);
}

static gboolean
sample_cb (gpointer data)
{
  SlTimingPanel *self = data;
  g_autofree char *reason = NULL;

  if (self->sampling || !self->session ||
      g_strcmp0 (gtk_stack_get_visible_child_name (self->pages), "gpu") != 0)
    return G_SOURCE_CONTINUE;
  if (!has_gpu (self, &reason)) {
    update_gpu (self, NULL);
    return G_SOURCE_CONTINUE;
  }
  self->sampling = TRUE;
  sl_session_sample_gpu_async (self->session, sampled_cb, g_object_ref (self));
  return G_SOURCE_CONTINUE;
}

static void
page_cb (SlTimingPanel *self)
{
  if (gtk_widget_get_mapped (GTK_WIDGET (self)))
    sample_cb (self);
}

/* ---- Export ---- */

static void
exported_cb (GObject *session, GAsyncResult *result, gpointer data)
{
  g_autoptr (SlTimingPanel) self = data;
  GError *error = NULL;

  if (sl_session_export_timing_finish (SL_SESSION (session), result, &error))
    gtk_label_set_text (self->status, _ ("Timings saved"));
  else
    sl_session_take_error (SL_SESSION (session), error);
}

static void
export_to (SlTimingPanel *self, SlTiming *timing, GFile *file, SlTimingFormat format)
{
  sl_session_export_timing_async (self->session, timing, file, format, exported_cb,
                                  g_object_ref (self));
}

void
sl_timing_panel_export (SlTimingPanel *self, GFile *file, SlTimingFormat format)
{
  g_return_if_fail (SL_IS_TIMING_PANEL (self) && self->timing);

  export_to (self, self->timing, file, format);
}

static void
response_cb (SlTimingPanel *self, int response)
{
  g_autoptr (GFile) file = gtk_file_chooser_get_file (GTK_FILE_CHOOSER (self->chooser));

  if (response == GTK_RESPONSE_ACCEPT && file)
    export_to (self, self->exported, file, self->format);
  g_clear_object (&self->exported);
  g_clear_object (&self->chooser);
}

static void
save_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  SlTimingPanel *self = SL_TIMING_PANEL (widget);

  if (!self->timing)
    return;
  self->format =
      g_str_equal (name, "timing.save-csv") ? SL_TIMING_FORMAT_CSV : SL_TIMING_FORMAT_TRACE;
  g_set_object (&self->exported, self->timing);
  g_clear_object (&self->chooser);
  self->chooser =
      gtk_file_chooser_native_new (_ ("Save Timings"), GTK_WINDOW (gtk_widget_get_root (widget)),
                                   GTK_FILE_CHOOSER_ACTION_SAVE, NULL, NULL);
  gtk_native_dialog_set_modal (GTK_NATIVE_DIALOG (self->chooser), TRUE);
  gtk_file_chooser_set_current_name (GTK_FILE_CHOOSER (self->chooser),
                                     self->format == SL_TIMING_FORMAT_CSV ? "timings.csv"
                                                                          : "trace.json");
  g_signal_connect_object (self->chooser, "response", G_CALLBACK (response_cb), self,
                           G_CONNECT_SWAPPED);
  gtk_native_dialog_show (GTK_NATIVE_DIALOG (self->chooser));
}

static void
copy_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  SlTimingPanel *self = SL_TIMING_PANEL (widget);
  g_autofree char *text = self->timing ? sl_timing_dup_text (self->timing) : NULL;

  if (!text)
    return;
  gdk_clipboard_set_text (gtk_widget_get_clipboard (widget), text);
  gtk_label_set_text (self->status, _ ("Timings copied"));
}

static void
zoom_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  SlTimingPanel *self = SL_TIMING_PANEL (widget);

  if (g_str_equal (name, "timing.zoom-in"))
    sl_timing_chart_zoom (self->chart, 1.5);
  else
    sl_timing_chart_zoom (self->chart, g_str_equal (name, "timing.zoom-out") ? 1 / 1.5 : 0);
}

/* ---- The object ---- */

void
sl_timing_panel_bind (SlTimingPanel *self, SlSession *session)
{
  g_return_if_fail (SL_IS_TIMING_PANEL (self) && !self->session);

  self->session = g_object_ref (session);
  g_object_set (self->bars, "timings", sl_session_get_timings (session), NULL);
  g_signal_connect_object (session, "notify::device-reason", G_CALLBACK (page_cb), self,
                           G_CONNECT_SWAPPED);
}

void
sl_timing_panel_set_narrow (SlTimingPanel *self, gboolean narrow)
{
  const GtkOrientation along = narrow ? GTK_ORIENTATION_VERTICAL : GTK_ORIENTATION_HORIZONTAL;

  g_return_if_fail (SL_IS_TIMING_PANEL (self));

  gtk_orientable_set_orientation (GTK_ORIENTABLE (self->body), along);
  gtk_orientable_set_orientation (GTK_ORIENTABLE (self->separator), !along);
  gtk_widget_set_vexpand (GTK_WIDGET (self->pages), narrow);
  gtk_widget_set_visible (self->zoom, !narrow);
}

static void
sl_timing_panel_map (GtkWidget *widget)
{
  SlTimingPanel *self = SL_TIMING_PANEL (widget);

  GTK_WIDGET_CLASS (sl_timing_panel_parent_class)->map (widget);
  update_numbers (self);
  changed_cb (self);
  self->sample_timer = g_timeout_add (SAMPLE_EVERY, sample_cb, self);
  sample_cb (self);
}

static void
sl_timing_panel_unmap (GtkWidget *widget)
{
  SlTimingPanel *self = SL_TIMING_PANEL (widget);

  g_clear_handle_id (&self->sample_timer, g_source_remove);
  GTK_WIDGET_CLASS (sl_timing_panel_parent_class)->unmap (widget);
}

static void
sl_timing_panel_dispose (GObject *object)
{
  SlTimingPanel *self = SL_TIMING_PANEL (object);

  g_clear_handle_id (&self->numbers_later, g_source_remove);
  g_clear_handle_id (&self->sample_timer, g_source_remove);
  if (self->timing) {
    g_signal_handlers_disconnect_by_func (self->timing, changed_cb, self);
    g_signal_handlers_disconnect_by_func (self->timing, update_actions, self);
  }
  g_clear_object (&self->timing);
  g_clear_object (&self->exported);
  g_clear_object (&self->chooser);
  g_clear_object (&self->session);

  G_OBJECT_CLASS (sl_timing_panel_parent_class)->dispose (object);
}

static void
install_actions (GtkWidgetClass *widget_class)
{
  static const struct {
    const char *name;
    GtkWidgetActionActivateFunc activate;
  } actions[] = {
    { "timing.zoom-in", zoom_action },  { "timing.zoom-out", zoom_action },
    { "timing.zoom-fit", zoom_action }, { "timing.save-trace", save_action },
    { "timing.save-csv", save_action }, { "timing.copy", copy_action },
  };

  for (guint i = 0; i < G_N_ELEMENTS (actions); i++)
    gtk_widget_class_install_action (widget_class, actions[i].name, NULL, actions[i].activate);
}

static void
sl_timing_panel_class_init (SlTimingPanelClass *klass)
{
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);

  G_OBJECT_CLASS (klass)->dispose = sl_timing_panel_dispose;
  widget_class->map = sl_timing_panel_map;
  widget_class->unmap = sl_timing_panel_unmap;

  chosen_signal = g_signal_new ("chosen", SL_TYPE_TIMING_PANEL, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                NULL, G_TYPE_NONE, 1, SL_TYPE_TIMING);

  g_type_ensure (SL_TYPE_TIMING_BARS);
  g_type_ensure (SL_TYPE_TIMING_CHART);
  g_type_ensure (SL_TYPE_TIMING_NUMBERS);
  g_type_ensure (SL_TYPE_TIMING_SPANS);
  gtk_widget_class_set_template_from_resource (widget_class,
                                               "/io/github/safelight/Safelight/sl-timing-panel.ui");
  gtk_widget_class_bind_template_child (widget_class, SlTimingPanel, title);
  gtk_widget_class_bind_template_child (widget_class, SlTimingPanel, zoom);
  gtk_widget_class_bind_template_child (widget_class, SlTimingPanel, body);
  gtk_widget_class_bind_template_child (widget_class, SlTimingPanel, separator);
  gtk_widget_class_bind_template_child (widget_class, SlTimingPanel, status);
  gtk_widget_class_bind_template_child (widget_class, SlTimingPanel, chart);
  gtk_widget_class_bind_template_child (widget_class, SlTimingPanel, bars);
  gtk_widget_class_bind_template_child (widget_class, SlTimingPanel, pages);
  gtk_widget_class_bind_template_child (widget_class, SlTimingPanel, numbers);
  gtk_widget_class_bind_template_child (widget_class, SlTimingPanel, spans);
  gtk_widget_class_bind_template_child (widget_class, SlTimingPanel, no_gpu);
  gtk_widget_class_bind_template_child (widget_class, SlTimingPanel, gpu);
  gtk_widget_class_bind_template_child (widget_class, SlTimingPanel, view);
  gtk_widget_class_bind_template_callback (widget_class, update_status);
  gtk_widget_class_bind_template_callback (widget_class, selected_cb);
  gtk_widget_class_bind_template_callback (widget_class, chosen_cb);
  gtk_widget_class_bind_template_callback (widget_class, page_cb);
  install_actions (widget_class);
}

static void
sl_timing_panel_init (SlTimingPanel *self)
{
  gtk_widget_init_template (GTK_WIDGET (self));
  g_object_bind_property (self->chart, "span", self->spans, "span", G_BINDING_BIDIRECTIONAL);
  sl_timing_panel_set_narrow (self, TRUE);
  update_numbers (self);
  update_actions (self);
}
