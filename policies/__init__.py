"""Rules over what a grove provisions, as a Pulumi policy pack: `pulumi up --policy-pack policies`."""
